#include "base/error.h"

#include <cstdio>
#include <cstdlib>

namespace cadre {

std::string Printable(std::string_view text, size_t max_bytes) {
  std::string out;
  const bool cut = text.size() > max_bytes;
  for (const char c : text.substr(0, max_bytes)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7f) {
      out.push_back(c);
    } else {
      out += fmt::format("\\x{:02x}", byte);
    }
  }
  if (cut) out += "...";
  return out;
}

void CheckFailed(const char* expression, const char* file, int line) {
  std::fprintf(stderr, "cadre: internal error: %s is false at %s:%d\n", expression, file, line);
  std::fflush(stderr);
  std::abort();
}

}  // namespace cadre
