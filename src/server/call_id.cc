#include "server/call_id.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/random.h"

namespace cadre {
namespace {

constexpr size_t kLength = 9;

bool IsAlphanumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

// Nine digits of base 62 out of a text: FNV-1a, then mixed, for FNV's high bits are weak.
std::string Hashed(std::string_view text) {
  uint64_t hash = 14695981039346656037u;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
  const auto words = Philox(hash, text.size(), 0);
  uint64_t mixed = uint64_t{words[1]} << 32 | words[0];
  constexpr std::string_view kDigits =
      "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  std::string id;
  for (size_t i = 0; i < kLength; ++i) {
    id += kDigits[mixed % kDigits.size()];
    mixed /= kDigits.size();
  }
  return id;
}

}  // namespace

std::string MakeCallId(std::string_view id, size_t choice, size_t index) {
  return Hashed(fmt::format("{}/{}/{}", id, choice, index));
}

std::string MappedCallId(const std::string& id) {
  if (id.empty() || id == "null") return "";
  return id.size() == kLength && std::ranges::all_of(id, IsAlphanumeric) ? id : Hashed(id);
}

}  // namespace cadre
