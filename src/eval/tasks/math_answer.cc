#include "eval/tasks/math_answer.h"

#include <algorithm>

#include "eval/tasks/math_number.h"
#include "eval/tasks/python_text.h"
#include "text/utf8.h"

namespace cadre {
namespace {

constexpr std::pair<std::string_view, std::string_view> kSubstitutions[] = {
    {"an ", ""},          {"a ", ""},
    {".$", "$"},          {"\\$", ""},
    {"\\ ", ""},          {" ", ""},
    {"mbox", "text"},     {",\\text{and}", ","},
    {"\\text{and}", ","}, {"\\text{m}", "\\text{}"}};

constexpr std::string_view kRemoved[] = {"square",       "ways",
                                         "integers",     "dollars",
                                         "mph",          "inches",
                                         "ft",           "hours",
                                         "km",           "units",
                                         "\\ldots",      "sue",
                                         "points",       "feet",
                                         "minutes",      "digits",
                                         "cents",        "degrees",
                                         "cm",           "gm",
                                         "pounds",       "meters",
                                         "meals",        "edges",
                                         "students",     "childrentickets",
                                         "multiples",    "\\text{s}",
                                         "\\text{.}",    "\\text{\ns}",
                                         "\\text{}^2",   "\\text{}^3",
                                         "\\text{\n}",   "\\text{}",
                                         "\\mathrm{th}", "^\\circ",
                                         "^{\\circ}",    "\\;",
                                         ",\\!",         "{,}",
                                         "\"",           "\\dots"};

size_t EndOfLine(std::string_view text, size_t at) {
  return std::min(text.find('\n', at), text.size());
}

// The bytes of the character that begins at `at`.
size_t CharacterBytes(std::string_view text, size_t at) {
  return DecodeUtf8(text.substr(at)).num_bytes;
}

// What is between the first two dollar signs of a line, where it has two, takes the line's place.
std::string OnlyMath(std::string_view text) {
  std::string kept;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = EndOfLine(text, begin);
    const std::string_view line = text.substr(begin, end - begin);
    const size_t open = line.find('$');
    const size_t close = open == line.npos ? open : line.find('$', open + 1);
    kept += close == line.npos ? line : line.substr(open, close + 1 - open);
    if (end < text.size()) kept += '\n';
    begin = end + 1;
  }
  return kept;
}

// `command`, as "\text{", and the first '}' behind it in its line go; with `greedy` the last one.
std::string Unwrapped(std::string_view text, std::string_view command, bool greedy = false) {
  std::string kept;
  for (size_t at; (at = text.find(command)) != text.npos;) {
    const size_t begin = at + command.size();
    const std::string_view line = text.substr(begin, EndOfLine(text, begin) - begin);
    const size_t close = greedy ? line.rfind('}') : line.find('}');
    if (close == line.npos) {
      kept += text.substr(0, begin);
      text.remove_prefix(begin);
      continue;
    }
    kept += text.substr(0, at);
    kept += line.substr(0, close);
    text.remove_prefix(begin + close + 1);
  }
  return kept += text;
}

// Puts the `count` characters behind `word`, where the first is no '{', in braces.
std::string Braced(std::string_view text, std::string_view word, int count) {
  std::string kept;
  for (size_t at; (at = text.find(word)) != text.npos;) {
    size_t end = at + word.size();
    std::string braced;
    for (int i = 0; i < count && end < text.size(); ++i) {
      const size_t bytes = CharacterBytes(text, end);
      if ((i == 0 && text[end] == '{') || (i > 0 && text[end] == '\n')) break;
      braced += '{';
      braced += text.substr(end, bytes);
      braced += '}';
      end += bytes;
    }
    const bool is_whole = std::count(braced.begin(), braced.end(), '{') >= count;
    if (!is_whole) end = at + word.size();
    kept += text.substr(0, at);
    kept += word;
    if (is_whole) kept += braced;
    text.remove_prefix(end);
  }
  return kept += text;
}

std::string WithoutThousands(std::string text) {
  std::string digits = Replaced(text, ",", "");
  const bool is_number = !digits.empty() && std::all_of(digits.begin(), digits.end(), [](char c) {
    return c >= '0' && c <= '9';
  });
  return is_number ? digits : text;
}

}  // namespace

std::optional<std::string> FinalAnswer(std::string_view text) {
  constexpr std::string_view kBegin = "Final Answer: The final answer is";
  constexpr std::string_view kEnd = " I hope it is correct";
  const std::string whole = std::string(text) + "I hope it is correct.";
  for (size_t at = 0; (at = whole.find(kBegin, at)) != whole.npos; ++at) {
    const size_t begin = at + kBegin.size();
    const std::string_view line =
        std::string_view(whole).substr(begin, EndOfLine(whole, begin) - begin);
    // One character before the end, and one behind it.
    const size_t end = line.find(kEnd, 1);
    if (end != line.npos && end + kEnd.size() < line.size()) {
      size_t answer = end - 1;
      while (answer > 0 && (static_cast<unsigned char>(line[answer]) & 0xc0) == 0x80) --answer;
      return std::string(Strip(line.substr(0, answer)));
    }
  }
  return std::nullopt;
}

std::optional<std::string> LastBoxed(std::string_view text) {
  constexpr std::string_view kSpaced = "\\boxed ";
  const size_t spaced = text.rfind(kSpaced);
  if (spaced != text.npos) {
    const std::string_view rest = text.substr(spaced + kSpaced.size());
    return std::string(rest.substr(0, rest.find('$')));
  }
  size_t at = text.rfind("\\boxed");
  if (at == text.npos) at = text.rfind("\\fbox");
  if (at == text.npos) return std::nullopt;
  const size_t open = text.find('{', at);
  int depth = 0;
  for (size_t i = open; i < text.size(); ++i) {
    if (text[i] == '{') ++depth;
    if (text[i] == '}' && --depth == 0) return std::string(text.substr(open + 1, i - open - 1));
  }
  return std::nullopt;
}

std::string NormalMathAnswer(std::string_view answer) {
  std::string text(answer.substr(answer.rfind('=') + 1));  // npos + 1 is 0
  for (const auto& [from, to] : kSubstitutions) text = Replaced(text, from, to);
  for (const auto removed : kRemoved) text = Replaced(text, removed, "");
  text = OnlyMath(text);
  for (const char* command : {"\\text{", "\\textbf{", "\\overline{"})
    text = Unwrapped(text, command);
  text = Unwrapped(text, "\\boxed{", true);
  text = Braced(text, "frac", 2);
  text = Braced(text, "sqrt", 1);
  return WithoutThousands(Replaced(text, "$", ""));
}

bool IsSameMathAnswer(const std::string& a, const std::string& b) {
  if (a == b) return true;
  const auto stripped_a = StrippedMathAnswer(a), stripped_b = StrippedMathAnswer(b);
  if (!stripped_a || !stripped_b) return false;
  if (*stripped_a == *stripped_b) return true;
  const auto number_a = ParseMathNumber(*stripped_a), number_b = ParseMathNumber(*stripped_b);
  return number_a && number_b && *number_a == *number_b;
}

}  // namespace cadre
