// UTF-8 read one character at a time, telling invalid bytes from a character that is not complete
// yet. One invalid byte is one step, so a text made fit has one U+FFFD per offending byte, as
// sentencepiece and the ByteFallback decoder do.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace cadre {

inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";  // U+FFFD

enum class Utf8Status : uint8_t { kValid, kInvalid, kIncomplete };

struct Utf8Step {
  uint32_t code_point;  // U+FFFD unless valid
  size_t num_bytes;     // of the character; 1 when invalid; all that is left when incomplete
  Utf8Status status;
};

// The first character of `text`, which is not empty. Overlong forms, surrogates and values above
// U+10FFFF are invalid at their first byte; incomplete means that more bytes could still make the
// whole of `text` one character.
Utf8Step DecodeUtf8(std::string_view text);

bool IsValidUtf8(std::string_view text);

// `text` with U+FFFD for every byte that belongs to no whole character.
std::string ReplaceInvalidUtf8(std::string_view text);

}  // namespace cadre
