#include "eval/tasks/task.h"

#include <algorithm>
#include <iterator>

#include "base/error.h"
#include "eval/tasks/code_program.h"
#include "eval/tasks/readers.h"
#include "eval/tasks/text_score.h"

namespace cadre {
namespace {

using enum Metric;

std::vector<Task> MakeTasks() {
  const std::vector<Metric> acc = {kAcc};
  const std::vector<Metric> acc_and_norm = {kAcc, kAccNorm, kAccBytes};
  return {
      {.name = "mmlu",
       .title = "MMLU",
       .keys = {"mmlu"},
       .shots_split = Split::kValidation,
       .default_shots = 5,
       .shot_order = ShotOrder::kFirst,
       .metrics = acc,
       .csv = CsvForm::kMmlu,
       .read = &ReadMmlu},
      {.name = "hellaswag",
       .title = "HellaSwag",
       .keys = {"hellaswag"},
       .split = Split::kValidation,
       .metrics = acc_and_norm,
       .published_metric = kAccNorm,
       .read = &ReadHellaSwag},
      {.name = "winogrande",
       .title = "WinoGrande",
       .keys = {"winogrande"},
       .split = Split::kValidation,
       .metrics = acc,
       .read = &ReadWinoGrande},
      {.name = "arc_easy",
       .title = "ARC easy",
       .keys = {"arceasy", "arce"},
       .metrics = acc_and_norm,
       .published_metric = kAccNorm,
       .read = &ReadArc},
      {.name = "arc_challenge",
       .title = "ARC challenge",
       .keys = {"arcchallenge", "arcc"},
       .metrics = acc_and_norm,
       .published_metric = kAccNorm,
       .read = &ReadArc},
      {.name = "openbookqa",
       .title = "OpenBookQA",
       .keys = {"openbookqa", "obqa"},
       .metrics = acc_and_norm,
       .read = &ReadOpenBookQa},
      {.name = "piqa",
       .title = "PIQA",
       .keys = {"piqa"},
       .split = Split::kValidation,
       .metrics = acc_and_norm,
       .published_metric = kAccNorm,
       .read = &ReadPiqa},
      {.name = "siqa",
       .title = "SIQA",
       .keys = {"siqa", "socialiqa"},
       .split = Split::kValidation,
       .metrics = acc,
       .read = &ReadSiqa},
      {.name = "commonsense_qa",
       .title = "CommonsenseQA",
       .keys = {"commonsenseqa", "csqa"},
       .split = Split::kValidation,
       .metrics = acc,
       .read = &ReadCommonsenseQa},
      {.name = "boolq",
       .title = "BoolQ",
       .keys = {"boolq"},
       .split = Split::kValidation,
       .metrics = acc,
       .read = &ReadBoolQ},
      {.name = "lambada",
       .title = "LAMBADA",
       .keys = {"lambada", "lambadaopenai", "lambadastandard"},
       .metrics = {kGreedy, kPerplexity},
       .read = &ReadLambada},
      {.name = "truthfulqa",
       .title = "TruthfulQA",
       .keys = {"truthfulqa", "truthfulqamc"},
       .split = Split::kValidation,
       .metrics = {kMc1, kMc2},
       .csv = CsvForm::kNamedColumns,
       .read = &ReadTruthfulQa},
      {.name = "truthfulqa_mc1",
       .title = "TruthfulQA MC1",
       .keys = {"truthfulqamc1", "truthfulqa"},
       .split = Split::kValidation,
       .metrics = {kMc1AsAcc},
       .csv = CsvForm::kNamedColumns,
       .read = &ReadTruthfulQaMc1},
      {.name = "truthfulqa_mc2",
       .title = "TruthfulQA MC2",
       .keys = {"truthfulqamc2", "truthfulqa"},
       .split = Split::kValidation,
       .metrics = {kMc2AsAcc},
       .csv = CsvForm::kNamedColumns,
       .read = &ReadTruthfulQaMc2},
      {.name = "bbq",
       .title = "BBQ",
       .keys = {"bbq"},
       .metrics = {kBbqAcc, kBbqAccAmbiguous, kBbqAccDisambiguated, kBbqBiasAmbiguous,
                   kBbqBiasDisambiguated},
       .published_metric = kBbqAcc,
       .in_many_files = true,
       .read = &ReadBbq},
      {.name = "m_arc",
       .title = "multilingual ARC",
       .keys = {"marc", "arcmultilingual"},
       .metrics = acc_and_norm,
       .published_metric = kAccNorm,
       .read = &ReadMultilingualArc},
      {.name = "m_hellaswag",
       .title = "multilingual HellaSwag",
       .keys = {"mhellaswag", "hellaswagmultilingual"},
       .split = Split::kValidation,
       .metrics = acc_and_norm,
       .published_metric = kAccNorm,
       .read = &ReadHellaSwag},
      {.name = "m_mmlu",
       .title = "multilingual MMLU",
       .keys = {"mmmlu", "mmlumultilingual"},
       .default_shots = 5,
       .shot_order = ShotOrder::kFirst,
       .metrics = acc,
       .read = &ReadMultilingualMmlu},
  };
}

std::vector<Task> MakeWritingTasks() {
  return {
      {.name = "triviaqa",
       .title = "TriviaQA",
       .keys = {"triviaqa"},
       .split = Split::kValidation,
       .default_shots = 5,
       .read = &ReadTriviaQa,
       .writing = Writing{.stops = {"\n", ".", ","}, .score = &ScoreTriviaQa}},
      {.name = "gsm8k",
       .title = "GSM8K",
       .keys = {"gsm8k"},
       .default_shots = 8,
       .read = &ReadGsm8k,
       .writing = Writing{.stops = {"Question:", "</s>", "<|im_end|>"}, .score = &ScoreGsm8k}},
      {.name = "math",
       .title = "MATH",
       .keys = {"math", "hendrycksmath", "minervamath"},
       .fixed_shots = 4,
       .in_a_file_each = true,
       .read = &ReadMath,
       .writing = Writing{.stops = {"Problem:"}, .score = &ScoreMath}},
      {.name = "truthfulqa_gen",
       .title = "TruthfulQA, written",
       .keys = {"truthfulqagen", "truthfulqa"},
       .split = Split::kValidation,
       .csv = CsvForm::kNamedColumns,
       .read = &ReadTruthfulQaWritten,
       .writing = Writing{.stops = {"\n\n"}, .counts_in_shares = false, .score = &ScoreTruthfulQa}},
      {.name = "bold",
       .title = "BOLD",
       .keys = {"bold"},
       .in_many_files = true,
       .writing = Writing{.stops = {"\n\n"},
                          .max_tokens = 64,
                          .temperature = 0.1,
                          .samples_temperature = 0.1,
                          .top_p = 0.9,
                          .counts_in_shares = false}},
      {.name = "mt_bench",
       .title = "MT-Bench",
       .keys = {"mtbench"},
       .writing = Writing{.stops = {}, .max_tokens = 1024, .counts_in_shares = false}},
      {.name = "passkey",
       .title = "Passkey retrieval",
       .keys = {"passkey"},
       .writing = Writing{.stops = {}, .max_tokens = 10, .score = &ScorePassKey}},
      {.name = "humaneval",
       .title = "HumanEval",
       .keys = {"humaneval"},
       .read = &ReadHumanEval,
       .writing = Writing{.stops = {"\nclass", "\ndef", "\n#", "\nif", "\nprint"},
                          .max_tokens = 1024,
                          .program = &HumanEvalProgram}},
      {.name = "mbpp",
       .title = "MBPP",
       .keys = {"mbpp", "sanitizedmbpp"},
       .fixed_shots = 3,
       .read = &ReadMbpp,
       .is_asked = &IsMbppTest,
       .writing = Writing{.stops = {"[DONE]"}, .program = &MbppProgram}},
  };
}

std::vector<Task> AllTasks() {
  std::vector<Task> tasks = MakeTasks();
  std::vector<Task> writing = MakeWritingTasks();
  tasks.insert(tasks.end(), std::move_iterator(writing.begin()), std::move_iterator(writing.end()));
  return tasks;
}

}  // namespace

std::string_view MetricName(Metric metric) {
  switch (metric) {
    case kAcc:
    case kGreedy:
    case kMc1AsAcc:
    case kMc2AsAcc:
    case kBbqAcc:
      return "acc";
    case kBbqAccAmbiguous:
      return "accuracy_amb";
    case kBbqAccDisambiguated:
      return "accuracy_disamb";
    case kBbqBiasAmbiguous:
      return "amb_bias_score";
    case kBbqBiasDisambiguated:
      return "disamb_bias_score";
    case kAccNorm:
      return "acc_norm";
    case kAccBytes:
      return "acc_bytes";
    case kPerplexity:
      return "perplexity";
    case kMc1:
      return "mc1";
    case kMc2:
      return "mc2";
  }
  return "";
}

std::span<const Task> Tasks() {
  static const std::vector<Task> tasks = AllTasks();
  return tasks;
}

std::string TaskKey(std::string_view name) {
  std::string key;
  for (const char c : name) {
    if (c >= 'A' && c <= 'Z') key += static_cast<char>(c - 'A' + 'a');
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) key += c;
  }
  return key;
}

const Task& FindTask(std::string_view name) {
  const std::string key = TaskKey(name);
  std::string names;
  for (const Task& task : Tasks()) {
    if (std::find(task.keys.begin(), task.keys.end(), key) != task.keys.end()) return task;
    names += names.empty() ? "" : ", ";
    names += task.name;
  }
  throw Error("--task is {} but must be one of {}", Printable(name), names);
}

}  // namespace cadre
