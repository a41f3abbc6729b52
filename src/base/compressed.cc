#include "base/compressed.h"

#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "base/error.h"

namespace cadre {
namespace {

using TakePiece = std::function<void(std::string_view piece)>;

constexpr std::string_view kZstd = ".zst", kGzip = ".gz";

void ReadZstd(const MappedFile& file, const TakePiece& take) {
  const std::unique_ptr<ZSTD_DCtx, decltype(&ZSTD_freeDCtx)> context(ZSTD_createDCtx(),
                                                                     &ZSTD_freeDCtx);
  std::vector<char> out(ZSTD_DStreamOutSize());
  ZSTD_inBuffer in{file.bytes().data(), file.bytes().size(), 0};
  size_t hint = in.size == 0 ? 0 : 1;  // zero when a frame is complete
  while (in.pos < in.size) {
    ZSTD_outBuffer piece{out.data(), out.size(), 0};
    hint = ZSTD_decompressStream(context.get(), &piece, &in);
    if (ZSTD_isError(hint))
      throw Error("{}: not valid zstd: {}", file.path(), ZSTD_getErrorName(hint));
    take({out.data(), piece.pos});
  }
  while (hint != 0) {  // what the decoder still holds
    ZSTD_outBuffer piece{out.data(), out.size(), 0};
    hint = ZSTD_decompressStream(context.get(), &piece, &in);
    if (ZSTD_isError(hint))
      throw Error("{}: not valid zstd: {}", file.path(), ZSTD_getErrorName(hint));
    if (piece.pos == 0) throw Error("{}: zstd data ends in the middle of a frame", file.path());
    take({out.data(), piece.pos});
  }
}

// As RFC 1952: any number of members, one behind the other.
void ReadGzip(const MappedFile& file, const TakePiece& take) {
  constexpr int kGzipOnly = 16 + MAX_WBITS;
  z_stream stream = {};
  if (inflateInit2(&stream, kGzipOnly) != Z_OK) throw std::bad_alloc();
  const std::unique_ptr<z_stream, decltype(&inflateEnd)> end(&stream, &inflateEnd);
  std::vector<char> out(64 << 10);
  std::string_view left = file.text();
  bool is_complete = true;
  while (!left.empty() || !is_complete) {
    const auto given =
        static_cast<uInt>(std::min<size_t>(left.size(), std::numeric_limits<uInt>::max()));
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(left.data()));
    stream.avail_in = given;
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    const int result = inflate(&stream, Z_NO_FLUSH);
    left.remove_prefix(given - stream.avail_in);
    if (result == Z_BUF_ERROR && left.empty())
      throw Error("{}: gzip data ends in the middle", file.path());
    if (result != Z_OK && result != Z_STREAM_END) {
      throw Error("{}: not valid gzip: {}", file.path(),
                  stream.msg != nullptr ? stream.msg : "unknown data");
    }
    take({out.data(), out.size() - stream.avail_out});
    is_complete = result == Z_STREAM_END;
    if (is_complete && inflateReset(&stream) != Z_OK) throw std::bad_alloc();
  }
}

}  // namespace

std::string_view UncompressedName(std::string_view path) {
  for (const std::string_view end : {kZstd, kGzip}) {
    if (path.ends_with(end)) return path.substr(0, path.size() - end.size());
  }
  return path;
}

void ReadPieces(const MappedFile& file, const TakePiece& take) {
  if (file.path().ends_with(kZstd)) return ReadZstd(file, take);
  if (file.path().ends_with(kGzip)) return ReadGzip(file, take);
  take(file.text());
}

}  // namespace cadre
