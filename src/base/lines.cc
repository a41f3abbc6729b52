#include "base/lines.h"

#include <cstdint>
#include <string_view>

#include "base/compressed.h"
#include "base/error.h"

namespace cadre {
namespace {

constexpr size_t kMaxLineBytes = size_t{1} << 30;

}  // namespace

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
