#include "align/held_back.h"

#include <string>

#include "base/digest.h"

namespace cadre {

bool IsHeldBack(std::span<const int32_t> prompt, double share) {
  if (share <= 0) return false;
  constexpr size_t kDigits = 13;  // 52 bits
  const std::string digits = Sha256(std::as_bytes(prompt)).substr(0, kDigits);
  const auto value = static_cast<double>(std::stoull(digits, nullptr, 16));
  return value < share * static_cast<double>(uint64_t{1} << (4 * kDigits));
}

}  // namespace cadre
