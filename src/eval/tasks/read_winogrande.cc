// Partial evaluation (Trinh and Le 2018): how likely the rest of the sentence is after each of two
// beginnings, in which an option stands for the blank.
#include "base/error.h"
#include "eval/tasks/choice_item.h"
#include "eval/tasks/python_text.h"
#include "eval/tasks/readers.h"

namespace cadre {
namespace {

EvalItem PartialItem(const Fields& line, std::vector<std::string> contexts, std::string_view rest,
                     int64_t gold) {
  if (rest.empty()) throw Error("{}: nothing follows the blank", line.name());
  EvalItem item;
  item.example = fmt::format("{} {}", contexts[static_cast<size_t>(gold)], rest);
  item.answers = contexts;
  item.contexts = std::move(contexts);
  item.continuations = {fmt::format(" {}", rest)};
  item.gold = gold;
  return item;
}

}  // namespace

EvalItem ReadWinoGrande(const Fields& line) {
  if (line.Has("context_options")) {
    auto contexts = line.Texts("context_options", 2);
    const int64_t gold = line.Number("gold", 0, std::ssize(contexts) - 1);
    return PartialItem(line, std::move(contexts), Strip(line.Text("continuation")), gold);
  }
  const std::string sentence = line.Text("sentence");
  const size_t blank = sentence.find('_');
  if (blank == std::string::npos) line.Fail("sentence", "a text with a blank, '_'");
  const std::string begin = sentence.substr(0, blank);
  const int64_t gold = line.Number(line.Has("answer") ? "answer" : "label", 1, 2) - 1;
  EvalItem item = PartialItem(line, {begin + line.Text("option1"), begin + line.Text("option2")},
                              Strip(std::string_view(sentence).substr(blank + 1)), gold);
  item.id = line.TextOr("qID", "");
  return item;
}

}  // namespace cadre
