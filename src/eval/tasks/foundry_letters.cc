#include "eval/tasks/foundry_letters.h"

#include "eval/tasks/choice_item.h"

namespace cadre {
namespace {

constexpr std::string_view kChoices = "\nChoices:\n";
constexpr std::string_view kAnswer = "\nAnswer:";

std::string Mark(size_t i) { return {static_cast<char>('A' + i), '.', ' '}; }

// Empty where `lines` are not `count` lettered answers.
std::vector<std::string> ReadAnswers(std::string_view lines, size_t count) {
  std::vector<std::string> answers;
  for (size_t i = 0; i < count; ++i) {
    const bool is_last = i + 1 == count;
    const size_t end = is_last ? lines.size() : lines.find("\n" + Mark(i + 1));
    if (end == std::string_view::npos || !lines.starts_with(Mark(i)) || end < Mark(i).size())
      return {};
    answers.emplace_back(lines.substr(Mark(i).size(), end - Mark(i).size()));
    if (!is_last) lines.remove_prefix(end + 1);
  }
  return answers;
}

}  // namespace

FoundryLetters ReadFoundryLetters(const Fields& line, std::string_view prefix) {
  const std::string query = FoundryQuery(line, prefix);
  const size_t count = FoundryChoices(line).size();
  const size_t choices = query.rfind(kChoices);
  FoundryLetters read;
  if (choices != std::string::npos && query.ends_with(kAnswer) && count <= 26) {
    const size_t begin = choices + kChoices.size();
    const size_t end = query.size() - kAnswer.size();
    read.head = query.substr(0, choices);
    if (begin < end)
      read.answers = ReadAnswers(std::string_view(query).substr(begin, end - begin), count);
  }
  if (read.answers.empty())
    line.Fail("query", "a question, 'Choices:', its lettered answers and 'Answer:'");
  read.gold = FoundryGold(line, count);
  return read;
}

}  // namespace cadre
