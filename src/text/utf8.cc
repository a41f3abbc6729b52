#include "text/utf8.h"

#include "base/error.h"

namespace cadre {
namespace {

constexpr uint32_t kReplacement = 0xFFFD;

// The second byte carries the rules against overlong forms, surrogates and too large values
// (Unicode 15, table 3-7).
bool IsSecondByte(unsigned char lead, unsigned char second) {
  switch (lead) {
    case 0xE0:
      return second >= 0xA0 && second <= 0xBF;
    case 0xED:
      return second >= 0x80 && second <= 0x9F;
    case 0xF0:
      return second >= 0x90 && second <= 0xBF;
    case 0xF4:
      return second >= 0x80 && second <= 0x8F;
    default:
      return second >= 0x80 && second <= 0xBF;
  }
}

size_t NumBytes(unsigned char lead) {
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead <= 0xDF) return 2;
  if (lead >= 0xE0 && lead <= 0xEF) return 3;
  if (lead >= 0xF0 && lead <= 0xF4) return 4;
  return 0;
}

}  // namespace

Utf8Step DecodeUtf8(std::string_view text) {
  CADRE_CHECK(!text.empty());
  const auto lead = static_cast<unsigned char>(text[0]);
  const size_t size = NumBytes(lead);
  if (size == 1) return {lead, 1, Utf8Status::kValid};
  if (size == 0) return {kReplacement, 1, Utf8Status::kInvalid};
  uint32_t code_point = lead & (0x7Fu >> size);
  for (size_t i = 1; i < size; ++i) {
    if (i == text.size()) return {kReplacement, i, Utf8Status::kIncomplete};
    const auto byte = static_cast<unsigned char>(text[i]);
    const bool fits = i == 1 ? IsSecondByte(lead, byte) : (byte & 0xC0u) == 0x80u;
    if (!fits) return {kReplacement, 1, Utf8Status::kInvalid};
    code_point = (code_point << 6) | (byte & 0x3Fu);
  }
  return {code_point, size, Utf8Status::kValid};
}

bool IsValidUtf8(std::string_view text) {
  while (!text.empty()) {
    const Utf8Step step = DecodeUtf8(text);
    if (step.status != Utf8Status::kValid) return false;
    text.remove_prefix(step.num_bytes);
  }
  return true;
}

std::string ReplaceInvalidUtf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Utf8Step step = DecodeUtf8(text);
    const size_t num_bytes = step.status == Utf8Status::kValid ? step.num_bytes : 1;
    out += step.status == Utf8Status::kValid ? text.substr(0, num_bytes) : kReplacementCharacter;
    text.remove_prefix(num_bytes);
  }
  return out;
}

}  // namespace cadre
