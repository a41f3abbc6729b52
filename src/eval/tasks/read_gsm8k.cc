#include "base/error.h"
#include "eval/tasks/number_answer.h"
#include "eval/tasks/readers.h"
#include "eval/tasks/text_score.h"

namespace cadre {
namespace {

std::optional<std::string> Comparable(const std::optional<std::string>& number) {
  if (!number) return std::nullopt;
  return ComparableNumber(*number);
}

}  // namespace

EvalItem ReadGsm8k(const Fields& line) {
  const std::string answer = line.Text("answer");
  const auto number = MarkedNumber(answer);
  if (!number) line.Fail("answer", "a text with '#### ' and a number at its end");
  EvalItem item;
  item.contexts = {"Question: " + line.Text("question") + "\nAnswer:"};
  item.example = item.contexts.front() + " " + answer;
  item.answers = {ComparableNumber(answer)};
  return item;
}

TextScore ScoreGsm8k(const EvalItem& item, const std::vector<std::string>& texts) {
  const std::vector<AnswerRule> rules = {
      {"", [](const std::string& text) { return Comparable(MarkedNumber(text)); }},
      {"_flexible", [](const std::string& text) { return Comparable(LastNumber(text)); }}};
  return ScoreAnswers(texts, rules,
                      [&](const std::string& answer) { return answer == item.answers.front(); });
}

}  // namespace cadre
