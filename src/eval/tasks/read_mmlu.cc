#include "base/error.h"
#include "eval/tasks/choice_item.h"
#include "eval/tasks/python_text.h"
#include "eval/tasks/readers.h"

namespace cadre {
namespace {

EvalItem LetterItem(const Fields& line, const std::string& question,
                    const std::vector<std::string>& answers, int64_t gold) {
  return ChoiceItem(line, std::string(Strip(question)) + LetteredLines(answers) + "\nAnswer:",
                    Letters(answers.size()), gold);
}

// As a number from 0 or as a letter from A.
int64_t LetterOrNumber(const Fields& line, const char* key, int64_t count) {
  if (line.Value(key).is_string()) {
    const std::string letter = line.Text(key);
    if (letter.size() == 1 && letter[0] >= 'A' && letter[0] < 'A' + count) return letter[0] - 'A';
  }
  return line.Number(key, 0, count - 1);
}

}  // namespace

EvalItem ReadMmlu(const Fields& line) {
  const auto answers = line.Texts("choices", 4);
  if (answers.size() != 4) line.Fail("choices", "a list of four");
  EvalItem item =
      LetterItem(line, line.Text("question"), answers, LetterOrNumber(line, "answer", 4));
  item.group = line.Text("subject");
  item.description =
      fmt::format("The following are multiple choice questions (with answers) about {}.\n\n",
                  Replaced(item.group, "_", " "));
  return item;
}

EvalItem ReadMultilingualMmlu(const Fields& line) {
  const std::vector<std::string> answers = {line.Text("option_a"), line.Text("option_b"),
                                            line.Text("option_c"), line.Text("option_d")};
  return LetterItem(line, line.Text("instruction"), answers, LetterOrNumber(line, "answer", 4));
}

}  // namespace cadre
