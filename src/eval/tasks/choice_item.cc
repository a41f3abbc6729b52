#include "eval/tasks/choice_item.h"

#include "base/error.h"

namespace cadre {

EvalItem ChoiceItem(const Fields& line, std::string context, std::vector<std::string> answers,
                    int64_t gold) {
  if (context.empty()) throw Error("{}: the question is empty", line.name());
  for (const auto& answer : answers) {
    if (answer.empty()) throw Error("{}: an answer is empty", line.name());
  }
  EvalItem item;
  item.id = line.TextOr("id", "");
  item.example = context + " " + answers[static_cast<size_t>(gold)];
  item.contexts = {std::move(context)};
  for (const auto& answer : answers) item.continuations.push_back(" " + answer);
  item.answers = std::move(answers);
  item.gold = gold;
  return item;
}

std::vector<std::string> Letters(size_t count) {
  CADRE_CHECK(count <= 26);
  std::vector<std::string> letters;
  for (size_t i = 0; i < count; ++i) letters.emplace_back(1, static_cast<char>('A' + i));
  return letters;
}

std::string LetteredLines(const std::vector<std::string>& answers) {
  std::string lines;
  for (size_t i = 0; i < answers.size(); ++i)
    lines += fmt::format("\n{}. {}", static_cast<char>('A' + i), answers[i]);
  return lines;
}

bool IsFoundry(const Fields& line) { return line.Has("query") && line.Has("gold"); }

std::string FoundryQuery(const Fields& line, std::string_view prefix) {
  const std::string query = line.Text("query");
  if (!query.starts_with(prefix))
    line.Fail("query", fmt::format("a text that begins with '{}'", prefix).c_str());
  return query.substr(prefix.size());
}

std::vector<std::string> FoundryChoices(const Fields& line) { return line.Texts("choices", 2); }

int64_t FoundryGold(const Fields& line, size_t choices) {
  return line.Number("gold", 0, static_cast<int64_t>(choices) - 1);
}

}  // namespace cadre
