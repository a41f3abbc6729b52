#include "base/lines.h"

#include <zstd.h>

#include <memory>
#include <vector>

#include "base/error.h"

namespace cadre {
namespace {

constexpr std::string_view kCompressed = ".zst";
constexpr size_t kMaxLineBytes = size_t{1} << 30;

}  // namespace

std::string_view UncompressedName(std::string_view path) {
  if (path.ends_with(kCompressed)) path.remove_suffix(kCompressed.size());
  return path;
}

void ReadPieces(const MappedFile& file, const std::function<void(std::string_view)>& take) {
  if (!file.path().ends_with(kCompressed)) return take(file.text());
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

void ReadLines(const std::string& path,
               const std::function<void(std::string line, std::string name)>& take) {
  const MappedFile file(path);
  std::string pending;
  int64_t line_number = 0;
  const auto finish_line = [&] {
    ++line_number;
    if (pending.find_first_not_of(" \t\r") != std::string::npos)
      take(std::move(pending), fmt::format("{}:{}", path, line_number));
    pending.clear();
  };
  ReadPieces(file, [&](std::string_view piece) {
    size_t end;
    while ((end = piece.find('\n')) != std::string_view::npos) {
      pending.append(piece.substr(0, end));
      finish_line();
      piece.remove_prefix(end + 1);
    }
    if (pending.size() + piece.size() > kMaxLineBytes) {
      throw Error("{}:{}: the line has more than {} bytes", path, line_number + 1, kMaxLineBytes);
    }
    pending.append(piece);
  });
  finish_line();
}

}  // namespace cadre
