#include "base/documents.h"

#include "base/compressed.h"
#include "base/error.h"
#include "base/json.h"
#include "base/lines.h"

namespace cadre {
namespace {

constexpr size_t kMaxDocumentBytes = size_t{1} << 30;

void TakeLine(std::string_view line, const std::string& name,
              const std::function<void(std::string)>& take) {
  const Json json = ParseJson(line, name);
  if (!json.is_object() || !json.contains("text")) throw Error("{}: has no member \"text\"", name);
  std::string text = JsonString(json, "text", "", name);
  if (!text.empty()) take(std::move(text));
}

}  // namespace

void ReadDocuments(const std::string& path, const std::function<void(std::string text)>& take) {
  const std::string_view inner = UncompressedName(path);
  if (inner.ends_with(".jsonl")) {
    return ReadLines(path, [&](const std::string& line, const std::string& name) {
      TakeLine(line, name, take);
    });
  }
  if (!inner.ends_with(".txt"))
    throw Error("{}: must end in .txt or .jsonl, with .zst or .gz behind it or not", path);
  const MappedFile file(path);
  std::string text;
  ReadPieces(file, [&](std::string_view piece) {
    if (text.size() + piece.size() > kMaxDocumentBytes)
      throw Error("{}: holds a document of more than {} bytes", path, kMaxDocumentBytes);
    text.append(piece);
  });
  if (!text.empty()) take(std::move(text));
}

}  // namespace cadre
