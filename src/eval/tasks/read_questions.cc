// Questions with labelled answers: ARC and what is published in its form.
#include <algorithm>

#include "base/error.h"
#include "eval/tasks/choice_item.h"
#include "eval/tasks/clean_text.h"
#include "eval/tasks/foundry_letters.h"
#include "eval/tasks/python_text.h"
#include "eval/tasks/readers.h"

namespace cadre {
namespace {

struct Question {
  std::string text;
  std::vector<std::string> answers;
  std::vector<std::string> labels;
};

// {stem, choices: [{text, label}]}
Question ReadStem(const Fields& question) {
  Question read{.text = question.Text("stem"), .answers = {}, .labels = {}};
  if (!question.Value("choices").is_array()) question.Fail("choices", "a list");
  for (const auto& choice : question.Value("choices")) {
    const Fields fields(choice, question.name());
    read.answers.push_back(fields.Text("text"));
    read.labels.push_back(fields.Text("label"));
  }
  return read;
}

Question ReadQuestion(const Fields& line) {
  if (line.Has("question") && line.Value("question").is_object())
    return ReadStem(line.Object("question"));
  const Fields choices = line.Object("choices");
  return {.text = line.Text(line.Has("question_stem") ? "question_stem" : "question"),
          .answers = choices.Texts("text", 2),
          .labels = choices.Texts("label", 2)};
}

int64_t Gold(const Fields& line, const Question& question) {
  const std::string key(Strip(line.Text("answerKey")));
  const auto found = std::find(question.labels.begin(), question.labels.end(), key);
  const auto gold = found - question.labels.begin();
  if (gold >= std::ssize(question.answers)) line.Fail("answerKey", "the label of an answer");
  return gold;
}

}  // namespace

EvalItem ReadArc(const Fields& line) {
  if (IsFoundry(line)) {
    auto choices = FoundryChoices(line);
    const int64_t gold = FoundryGold(line, choices.size());
    return ChoiceItem(line, "Question: " + FoundryQuery(line, "Question: ") + "\nAnswer:",
                      std::move(choices), gold);
  }
  Question question = ReadQuestion(line);
  const int64_t gold = Gold(line, question);
  return ChoiceItem(line, "Question: " + question.text + "\nAnswer:", std::move(question.answers),
                    gold);
}

EvalItem ReadOpenBookQa(const Fields& line) {
  if (IsFoundry(line)) {
    auto choices = FoundryChoices(line);
    const int64_t gold = FoundryGold(line, choices.size());
    return ChoiceItem(line, FoundryQuery(line, ""), std::move(choices), gold);
  }
  Question question = ReadQuestion(line);
  const int64_t gold = Gold(line, question);
  return ChoiceItem(line, question.text, std::move(question.answers), gold);
}

EvalItem ReadCommonsenseQa(const Fields& line) {
  Question question;
  int64_t gold;
  if (IsFoundry(line)) {
    FoundryLetters letters = ReadFoundryLetters(line, "Question: ");
    question = {.text = letters.head, .answers = letters.answers, .labels = {}};
    gold = letters.gold;
  } else {
    question = ReadQuestion(line);
    gold = Gold(line, question);
  }
  if (question.answers.size() > 26) throw Error("{}: more than 26 answers", line.name());
  return ChoiceItem(
      line,
      fmt::format("Question: {}{}\nAnswer:", Strip(question.text), LetteredLines(question.answers)),
      Letters(question.answers.size()), gold);
}

EvalItem ReadMultilingualArc(const Fields& line) {
  std::vector<std::string> answers;
  for (const char* key : {"option_a", "option_b", "option_c", "option_d", "option_e"}) {
    const std::string option = line.TextOr(key, "");
    if (!option.empty()) answers.push_back(WithoutWikiHowMarks(option));
  }
  const std::string letter = line.Text("answer");
  const int64_t gold = letter.size() == 1 ? letter[0] - 'A' : -1;
  if (gold < 0 || gold >= std::ssize(answers)) line.Fail("answer", "the letter of an option");
  return ChoiceItem(line,
                    "Question: " + WithoutWikiHowMarks(line.Text("instruction")) + "\nAnswer:",
                    std::move(answers), gold);
}

}  // namespace cadre
