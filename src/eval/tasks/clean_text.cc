#include "eval/tasks/clean_text.h"

#include "eval/tasks/python_text.h"

namespace cadre {
namespace {

// The shortest stretches from '[' to ']' within a line go.
std::string WithoutBrackets(std::string_view text) {
  std::string kept;
  while (!text.empty()) {
    if (text[0] == '[') {
      const size_t end = text.find_first_of("]\n");
      if (end != std::string_view::npos && text[end] == ']') {
        text.remove_prefix(end + 1);
        continue;
      }
    }
    kept += text[0];
    text.remove_prefix(1);
  }
  return kept;
}

}  // namespace

std::string WithoutWikiHowMarks(std::string_view text) {
  return Replaced(WithoutBrackets(Replaced(Strip(text), " [title]", ". ")), "  ", " ");
}

}  // namespace cadre
