#include "eval/tasks/code_program.h"
#include "eval/tasks/readers.h"

namespace cadre {

EvalItem ReadHumanEval(const Fields& line) {
  EvalItem item;
  item.id = line.TextOr("task_id", "");
  item.contexts = {line.Text("prompt")};
  item.example = item.contexts.front() + line.TextOr("canonical_solution", "");
  item.answers = {line.Text("test"), line.Text("entry_point")};
  return item;
}

std::string HumanEvalProgram(const EvalItem& item, const std::string& text) {
  return item.contexts.front() + text + "\n" + item.answers[0] + "\ncheck(" + item.answers[1] + ")";
}

}  // namespace cadre
