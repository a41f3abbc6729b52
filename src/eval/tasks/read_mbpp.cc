#include "eval/tasks/code_program.h"
#include "eval/tasks/mbpp_shots.h"
#include "eval/tasks/readers.h"

namespace cadre {
namespace {

constexpr size_t kShownTests = 3;

}  // namespace

bool IsMbppTest(const Fields& line) {
  const int64_t id = line.Number("task_id", 0, INT64_MAX);
  return 11 <= id && id <= 510;
}

EvalItem ReadMbpp(const Fields& line) {
  const auto tests = line.Texts("test_list", kShownTests);
  EvalItem item;
  item.id = line.TextOr("task_id", "");
  item.description = kMbppShots;
  std::string prompt = "You are an expert Python programmer, and here is your task: ";
  prompt += line.Has("prompt") ? line.Text("prompt") : line.Text("text");
  prompt += " Your code should pass these tests:\n\n";
  for (size_t i = 0; i < kShownTests; ++i) prompt += tests[i] + "\n";
  item.contexts = {prompt + "[BEGIN]\n"};
  item.example = item.contexts.front() + line.TextOr("code", "") + "\n[DONE]";
  std::string checks;
  if (line.Has("test_imports") && !line.Value("test_imports").empty())
    for (const auto& import : line.Texts("test_imports")) checks += import + "\n";
  const std::string setup = line.TextOr("test_setup_code", "");
  if (!setup.empty()) checks += setup + "\n";
  for (const auto& test : tests) checks += test + "\n";
  item.answers = {checks};
  return item;
}

std::string MbppProgram(const EvalItem& item, const std::string& text) {
  return text + "\n" + item.answers.front();
}

}  // namespace cadre
