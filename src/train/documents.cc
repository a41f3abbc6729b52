#include "train/documents.h"

#include <zstd.h>

#include <memory>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "base/mapped_file.h"

namespace cadre {
namespace {

constexpr size_t kMaxDocumentBytes = size_t{1} << 30;

// Hands the file's (decompressed) bytes on in pieces.
void ReadPieces(const MappedFile& file, bool compressed,
                const std::function<void(std::string_view)>& take) {
  if (!compressed) return take(file.text());
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

void TakeLine(std::string_view line, const std::string& name,
              const std::function<void(std::string)>& take) {
  if (line.find_first_not_of(" \t\r") == std::string_view::npos) return;
  const Json json = ParseJson(line, name);
  if (!json.is_object() || !json.contains("text")) throw Error("{}: has no member \"text\"", name);
  std::string text = JsonString(json, "text", "", name);
  if (!text.empty()) take(std::move(text));
}

}  // namespace

void ReadDocuments(const std::string& path, const std::function<void(std::string text)>& take) {
  const bool compressed = path.ends_with(".zst");
  const std::string inner = compressed ? path.substr(0, path.size() - 4) : path;
  const bool lines = inner.ends_with(".jsonl");
  if (!lines && !inner.ends_with(".txt"))
    throw Error("{}: must end in .txt or .jsonl, with .zst behind it or not", path);
  const MappedFile file(path);
  std::string pending;
  int64_t line_number = 0;
  ReadPieces(file, compressed, [&](std::string_view piece) {
    if (lines) {
      size_t end;
      while ((end = piece.find('\n')) != std::string_view::npos) {
        pending.append(piece.substr(0, end));
        TakeLine(pending, fmt::format("{}:{}", path, ++line_number), take);
        pending.clear();
        piece.remove_prefix(end + 1);
      }
    }
    if (pending.size() + piece.size() > kMaxDocumentBytes) {
      throw Error("{}: holds a document of more than {} bytes", path, kMaxDocumentBytes);
    }
    pending.append(piece);
  });
  if (lines) {
    TakeLine(pending, fmt::format("{}:{}", path, ++line_number), take);
  } else if (!pending.empty()) {
    take(std::move(pending));
  }
}

}  // namespace cadre
