#include "base/error.h"
#include "eval/tasks/math_answer.h"
#include "eval/tasks/math_shots.h"
#include "eval/tasks/readers.h"
#include "eval/tasks/text_score.h"

namespace cadre {
namespace {

std::optional<std::string> Normal(const std::optional<std::string>& answer) {
  if (!answer) return std::nullopt;
  return NormalMathAnswer(*answer);
}

}  // namespace

EvalItem ReadMath(const Fields& line) {
  const std::string solution = line.Text("solution");
  const auto boxed = LastBoxed(solution);
  if (!boxed) line.Fail("solution", "a text with the answer in \\boxed{}");
  EvalItem item;
  item.group = line.TextOr("type", "");
  item.description = kMathShots;
  item.contexts = {"Problem:\n" + line.Text("problem") + "\n\nSolution:"};
  item.example = item.contexts.front() + " " + solution;
  item.answers = {NormalMathAnswer(*boxed)};
  return item;
}

TextScore ScoreMath(const EvalItem& item, const std::vector<std::string>& texts) {
  const std::vector<AnswerRule> rules = {
      {"", [](const std::string& text) { return Normal(FinalAnswer(text)); }},
      {"_flexible", [](const std::string& text) {
         const auto answer = FinalAnswer(text);
         return Normal(answer ? answer : LastBoxed(text));
       }}};
  return ScoreAnswers(texts, rules, [&](const std::string& answer) {
    return IsSameMathAnswer(answer, item.answers.front());
  });
}

}  // namespace cadre
