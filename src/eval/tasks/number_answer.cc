#include "eval/tasks/number_answer.h"

namespace cadre {
namespace {

constexpr std::string_view kMark = "#### ";

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsOfNumber(char c) { return IsDigit(c) || c == '.' || c == ','; }
bool IsOfAmount(char c) { return IsOfNumber(c) || c == '$'; }

template <typename Is>
size_t EndOf(std::string_view text, size_t at, Is is) {
  while (at < text.size() && is(text[at])) ++at;
  return at;
}

}  // namespace

std::optional<std::string> MarkedNumber(std::string_view text) {
  for (size_t at = 0; (at = text.find(kMark, at)) != text.npos; ++at) {
    const size_t begin = at + kMark.size();
    const size_t digits = begin < text.size() && text[begin] == '-' ? begin + 1 : begin;
    const size_t end = EndOf(text, digits, IsOfNumber);
    if (end > digits) return std::string(text.substr(begin, end - begin));
  }
  return std::nullopt;
}

std::optional<std::string> LastNumber(std::string_view text) {
  std::optional<std::string> last;
  for (size_t at = 0; at < text.size();) {
    const size_t first = text[at] == '-' ? at + 1 : at;
    size_t end = EndOf(text, first, IsOfAmount);
    if (end - first < 2) end = EndOf(text, first, IsDigit);
    if (end == first) {
      ++at;
      continue;
    }
    last = text.substr(at, end - at);
    at = end;
  }
  return last;
}

std::string ComparableNumber(std::string_view number) {
  const size_t mark = number.rfind(kMark);
  if (mark != number.npos) number.remove_prefix(mark + kMark.size());
  std::string comparable;
  for (const char c : number) {
    if (c != ',' && c != '$') comparable += c;
  }
  if (comparable.ends_with('.')) comparable.pop_back();
  return comparable;
}

}  // namespace cadre
