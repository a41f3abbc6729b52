// The normal form of answers by the authors of MATH, one step after another.
#include <vector>

#include "eval/tasks/math_answer.h"
#include "eval/tasks/python_text.h"
#include "text/utf8.h"

namespace cadre {
namespace {

using Text = std::optional<std::string>;  // none: the step would fail

std::vector<std::string_view> Split(std::string_view text, std::string_view separator) {
  std::vector<std::string_view> parts;
  for (size_t at; (at = text.find(separator)) != text.npos;) {
    parts.push_back(text.substr(0, at));
    text.remove_prefix(at + separator.size());
  }
  parts.push_back(text);
  return parts;
}

// The first character, and what is behind it.
std::pair<std::string_view, std::string_view> TakeCharacter(std::string_view text) {
  const size_t bytes = DecodeUtf8(text).num_bytes;
  return {text.substr(0, bytes), text.substr(bytes)};
}

// What stands before a unit, which is the only thing that begins with "\text{ ".
Text WithoutUnits(const std::string& text) {
  const auto parts = Split(text, "\\text{ ");
  if (parts.size() > 2) return std::nullopt;
  return std::string(parts[0]);
}

// A name of one or two characters before the only '=' goes.
std::string WithoutName(const std::string& text) {
  const auto parts = Split(text, "=");
  return parts.size() == 2 && NumCharacters(parts[0]) <= 2 ? std::string(parts[1]) : text;
}

// \sqrt3 is \sqrt{3}
Text WithBracedRoots(const std::string& text) {
  const auto parts = Split(text, "\\sqrt");
  std::string braced(parts[0]);
  for (size_t i = 1; i < parts.size(); ++i) {
    if (parts[i].empty()) return std::nullopt;
    const auto [first, rest] = TakeCharacter(parts[i]);
    braced += "\\sqrt";
    if (first == "{") {
      braced += parts[i];
    } else {
      braced += '{';
      braced += first;
      braced += '}';
      braced += rest;
    }
  }
  return braced;
}

// \frac12 is \frac{1}{2}, and \frac1{72} is \frac{1}{72}
Text WithBracedFractions(const std::string& text) {
  const auto parts = Split(text, "\\frac");
  std::string braced(parts[0]);
  for (size_t i = 1; i < parts.size(); ++i) {
    if (parts[i].empty()) return std::nullopt;
    braced += "\\frac";
    const auto [above, behind] = TakeCharacter(parts[i]);
    if (above == "{") {
      braced += parts[i];
      continue;
    }
    if (behind.empty()) return text;
    const auto [below, rest] = TakeCharacter(behind);
    braced += '{';
    braced += above;
    braced += '}';
    if (below == "{") {
      braced += behind;
    } else {
      braced += '{';
      braced += below;
      braced += '}';
      braced += rest;
    }
  }
  return braced;
}

bool IsInteger(std::string_view text) {
  if (text.starts_with('-') || text.starts_with('+')) text.remove_prefix(1);
  return !text.empty() && text.find_first_not_of("0123456789") == text.npos;
}

// As a program would write it.
bool IsPlainInteger(std::string_view text) {
  if (text.starts_with('+') || text == "-0") return false;
  if (text.starts_with('-')) text.remove_prefix(1);
  return text.size() == 1 || !text.starts_with('0');
}

// a/b of two integers is \frac{a}{b}
Text WithoutSlash(const std::string& text) {
  const auto parts = Split(text, "/");
  if (parts.size() != 2) return text;
  if (!IsInteger(parts[0]) || !IsInteger(parts[1])) return std::nullopt;
  if (!IsPlainInteger(parts[0]) || !IsPlainInteger(parts[1])) return text;
  std::string fraction = "\\frac{";
  fraction += parts[0];
  fraction += "}{";
  fraction += parts[1];
  return fraction += "}";
}

}  // namespace

std::optional<std::string> StrippedMathAnswer(std::string_view answer) {
  std::string text(answer);
  for (const char* gone : {"\n", "\\!"}) text = Replaced(text, gone, "");
  text = Replaced(text, "\\\\", "\\");
  for (const char* fraction : {"tfrac", "dfrac"}) text = Replaced(text, fraction, "frac");
  for (const char* gone : {"\\left", "\\right", "^{\\circ}", "^\\circ", "\\$"})
    text = Replaced(text, gone, "");
  const Text without_units = WithoutUnits(text);
  if (!without_units) return std::nullopt;
  text = Replaced(*without_units, "\\%", "");
  text = Replaced(text, " .", " 0.");
  text = Replaced(text, "{.", "{0.");
  if (text.empty()) return text;
  if (text[0] == '.') text.insert(0, 1, '0');
  const Text with_roots = WithBracedRoots(WithoutName(text));
  if (!with_roots) return std::nullopt;
  const Text with_fractions = WithBracedFractions(Replaced(*with_roots, " ", ""));
  if (!with_fractions) return std::nullopt;
  return WithoutSlash(*with_fractions == "0.5" ? "\\frac{1}{2}" : *with_fractions);
}

}  // namespace cadre
