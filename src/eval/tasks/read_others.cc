// PIQA, SIQA, BoolQ and LAMBADA.
#include "base/error.h"
#include "eval/tasks/choice_item.h"
#include "eval/tasks/foundry_letters.h"
#include "eval/tasks/readers.h"

namespace cadre {

EvalItem ReadPiqa(const Fields& line) {
  if (IsFoundry(line)) {
    auto choices = FoundryChoices(line);
    const int64_t gold = FoundryGold(line, choices.size());
    return ChoiceItem(line, "Question: " + FoundryQuery(line, "Question: ") + "\nAnswer:",
                      std::move(choices), gold);
  }
  return ChoiceItem(line, "Question: " + line.Text("goal") + "\nAnswer:",
                    {line.Text("sol1"), line.Text("sol2")}, line.Number("label", 0, 1));
}

EvalItem ReadSiqa(const Fields& line) {
  if (IsFoundry(line)) {
    constexpr std::string_view kQuestion = "\nQuestion: ";
    FoundryLetters letters = ReadFoundryLetters(line, "Context: ");
    const size_t question = letters.head.rfind(kQuestion);
    if (question == std::string::npos) line.Fail("query", "a text with a line 'Question: '");
    return ChoiceItem(line,
                      "Q: " + letters.head.substr(0, question) + " " +
                          letters.head.substr(question + kQuestion.size()) + "\nA:",
                      std::move(letters.answers), letters.gold);
  }
  return ChoiceItem(line, "Q: " + line.Text("context") + " " + line.Text("question") + "\nA:",
                    {line.Text("answerA"), line.Text("answerB"), line.Text("answerC")},
                    line.Number("label", 1, 3) - 1);
}

EvalItem ReadBoolQ(const Fields& line) {
  if (IsFoundry(line)) {
    const auto choices = FoundryChoices(line);
    if (choices != std::vector<std::string>{"no", "yes"}) line.Fail("choices", "[\"no\",\"yes\"]");
    return ChoiceItem(line, FoundryQuery(line, "Passage: ") + "\nAnswer:", choices,
                      FoundryGold(line, 2));
  }
  return ChoiceItem(line,
                    line.Text("passage") + "\nQuestion: " + line.Text("question") + "?\nAnswer:",
                    {"no", "yes"}, line.Number(line.Has("answer") ? "answer" : "label", 0, 1));
}

EvalItem ReadLambada(const Fields& line) {
  std::string context, word;
  if (line.Has("context")) {
    context = line.Text("context");
    word = line.Text("continuation");
  } else {
    const std::string text = line.Text("text");
    const size_t space = text.rfind(' ');
    if (space == std::string::npos) line.Fail("text", "more than one word");
    context = text.substr(0, space);
    word = text.substr(space + 1);
  }
  EvalItem item = ChoiceItem(line, std::move(context), {word}, 0);
  // The harness puts its delimiter before a target that already begins with a space.
  item.example = item.contexts[0] + " " + item.continuations[0];
  return item;
}

}  // namespace cadre
