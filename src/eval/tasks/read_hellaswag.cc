#include "eval/tasks/choice_item.h"
#include "eval/tasks/clean_text.h"
#include "eval/tasks/python_text.h"
#include "eval/tasks/readers.h"

namespace cadre {

EvalItem ReadHellaSwag(const Fields& line) {
  if (IsFoundry(line)) {
    auto choices = FoundryChoices(line);
    const int64_t gold = FoundryGold(line, choices.size());
    return ChoiceItem(line, FoundryQuery(line, ""), std::move(choices), gold);
  }
  auto endings = line.Texts("endings", 2);
  for (auto& ending : endings) ending = WithoutWikiHowMarks(ending);
  const std::string context = line.Text("activity_label") + ": " + line.Text("ctx_a") + " " +
                              Capitalized(line.Text("ctx_b"));
  const int64_t gold = line.Number("label", 0, std::ssize(endings) - 1);
  EvalItem item = ChoiceItem(line, WithoutWikiHowMarks(context), std::move(endings), gold);
  if (item.id.empty()) item.id = line.TextOr("ind", "");
  return item;
}

}  // namespace cadre
