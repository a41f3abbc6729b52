#include "eval/tasks/python_text.h"

#include "text/utf8.h"

namespace cadre {
namespace {

bool IsSpace(uint32_t c) {
  return (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
         c == 0x205f || c == 0x3000;
}

// Pairs that stand side by side, the capital first: its parity within U+0100 to U+017F.
bool IsPairedCapital(uint32_t c) {
  if (c >= 0x0100 && c <= 0x0137) return c % 2 == 0 && c != 0x0130;
  if (c >= 0x0139 && c <= 0x0148) return c % 2 == 1;
  if (c >= 0x014a && c <= 0x0177) return c % 2 == 0;
  return c >= 0x0179 && c <= 0x017e && c % 2 == 1;
}

uint32_t Lower(uint32_t c) {
  if (c >= 'A' && c <= 'Z') return c + 0x20;
  if (c >= 0xc0 && c <= 0xde && c != 0xd7) return c + 0x20;
  if (IsPairedCapital(c)) return c + 1;
  if (c == 0x0178) return 0xff;
  if (c >= 0x0391 && c <= 0x03a9 && c != 0x03a2) return c + 0x20;
  if (c >= 0x0410 && c <= 0x042f) return c + 0x20;
  if (c >= 0x0400 && c <= 0x040f) return c + 0x50;
  return c;
}

uint32_t Upper(uint32_t c) {
  if (c >= 'a' && c <= 'z') return c - 0x20;
  if (c >= 0xe0 && c <= 0xfe && c != 0xf7) return c - 0x20;
  if (c > 0x0100 && IsPairedCapital(c - 1)) return c - 1;
  if (c == 0xff) return 0x0178;
  if (c >= 0x03b1 && c <= 0x03c9 && c != 0x03c2) return c - 0x20;
  if (c >= 0x0430 && c <= 0x044f) return c - 0x20;
  if (c >= 0x0450 && c <= 0x045f) return c - 0x50;
  return c;
}

// Of the letters above: at most two bytes.
void AppendLetter(uint32_t c, std::string& text) {
  if (c < 0x80) {
    text += static_cast<char>(c);
  } else {
    text += static_cast<char>(0xc0 | c >> 6);
    text += static_cast<char>(0x80 | (c & 0x3f));
  }
}

// Lower case, but for a first character in upper case where one is wanted.
std::string InCase(std::string_view text, bool first_is_upper) {
  std::string changed;
  bool is_upper = first_is_upper;
  while (!text.empty()) {
    const Utf8Step step = DecodeUtf8(text);
    const uint32_t c = is_upper ? Upper(step.code_point) : Lower(step.code_point);
    if (c == step.code_point) {
      changed += text.substr(0, step.num_bytes);
    } else {
      AppendLetter(c, changed);
    }
    is_upper = false;
    text.remove_prefix(step.num_bytes);
  }
  return changed;
}

}  // namespace

std::string_view StripRight(std::string_view text) {
  size_t end = 0;
  for (size_t at = 0; at < text.size();) {
    const Utf8Step step = DecodeUtf8(text.substr(at));
    at += step.num_bytes;
    if (!IsSpace(step.code_point)) end = at;
  }
  return text.substr(0, end);
}

std::string_view Strip(std::string_view text) {
  while (!text.empty()) {
    const Utf8Step step = DecodeUtf8(text);
    if (!IsSpace(step.code_point)) break;
    text.remove_prefix(step.num_bytes);
  }
  return StripRight(text);
}

std::string Capitalized(std::string_view text) { return InCase(text, true); }
std::string Lowered(std::string_view text) { return InCase(text, false); }

std::string WithoutPunctuation(std::string_view text) {
  std::string kept;
  for (const char c : text) {
    const bool is_punctuation = (c >= '!' && c <= '/') || (c >= ':' && c <= '@') ||
                                (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
    if (!is_punctuation) kept += c;
  }
  return kept;
}

int64_t NumCharacters(std::string_view text) {
  int64_t count = 0;
  for (; !text.empty(); ++count) text.remove_prefix(DecodeUtf8(text).num_bytes);
  return count;
}

std::string Replaced(std::string_view text, std::string_view from, std::string_view to) {
  std::string replaced;
  size_t at;
  while ((at = text.find(from)) != std::string_view::npos) {
    replaced += text.substr(0, at);
    replaced += to;
    text.remove_prefix(at + from.size());
  }
  return replaced += text;
}

}  // namespace cadre
