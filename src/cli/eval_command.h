// What the parts of `cadre eval` share: the options, and a benchmark made ready from them.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/eval_report.h"
#include "cli/judge.h"
#include "cli/session.h"
#include "eval/eval_record.h"
#include "eval/generation.h"
#include "eval/passkey.h"
#include "eval/program_checker.h"

namespace cadre {

// Tasks that are more than rows of the table.
inline constexpr std::string_view kPassKeyTask = "passkey";
inline constexpr std::string_view kBoldTask = "bold";
inline constexpr std::string_view kMtBenchTask = "mt_bench";

struct EvalCommand {
  SharedOptions shared;
  ModelOptions run;
  std::string model;
  std::string task;
  std::string data;
  std::string shots_data;
  std::optional<int> shots;
  int64_t limit = 0;
  std::string record;
  bool resume = false;
  bool one_by_one = false;
  bool json = false;

  // Of tasks whose answers the model writes.
  std::optional<int> samples;
  std::optional<double> temperature;
  std::optional<double> top_p;
  std::optional<int64_t> max_tokens;
  std::optional<int64_t> parallel;
  // Of tasks whose answers are programs.
  std::optional<std::string> python;
  std::optional<int> timeout_s;
  std::string lexicon;     // BOLD
  JudgeOptions judge;      // MT-Bench
  std::string references;  // MT-Bench
  PassKeyGrid pass_keys;   // no lengths: those of PassKeyLengths
};

// The items and what stands before them. Not movable: parts refer to each other.
struct PreparedBenchmark {
  // Reads the data, but for MT-Bench's, and sees that programs can be run. Throws Error, and
  // CLI::RequiredError where none are named.
  explicit PreparedBenchmark(const EvalCommand& command);
  // For items that are made, which needs the model's tokenizer. Throws Error.
  void MakePassKeys(const EvalCommand& command, const ModelSession& session);
  PreparedBenchmark(const PreparedBenchmark&) = delete;
  PreparedBenchmark& operator=(const PreparedBenchmark&) = delete;

  Benchmark benchmark() const { return {.task = &task, .items = &items, .shots = &*shots}; }

  const Task& task;
  DataFiles files;
  std::vector<EvalItem> items;
  int num_shots = 0;
  std::vector<EvalItem> pool;  // of examples
  std::optional<Shots> shots;
  int64_t num_items = 0;
  std::unique_ptr<ProgramChecker> checker;  // where answers are programs
};

// The head of the record: all that a run which goes on with it must have the same.
OrderedJson RecordHead(const EvalCommand& command, const PreparedBenchmark& prepared, bool bos,
                       int64_t context);

// With --memory: shares it out for texts that the model writes. Before the session's context is
// asked for, which may be shorter then.
void FitWriting(const EvalCommand& command, ModelSession& session);

// Scores by likelihood, or lets the model write; each with the record and a progress bar.
EvaluationResult RunLikelihood(const EvalCommand& command, const PreparedBenchmark& prepared,
                               ModelSession& session, const PromptEncoder& encoder);
EvaluationResult RunWriting(const EvalCommand& command, const PreparedBenchmark& prepared,
                            ModelSession& session, const PromptEncoder& encoder);

EvaluationResult RunMtBench(const EvalCommand& command, PreparedBenchmark& prepared,
                            ModelSession& session);

GeneratorLimits GeneratorLimitsOf(const EvalCommand& command, const ModelSession& session);

// Texts for each item: as asked for, else one.
int NumSamples(const EvalCommand& command);

// Options of tasks whose answers the model writes. Throws Error where one is given and the task is
// scored by likelihood.
void AddWritingOptions(CLI::App& app, EvalCommand& command);
void CheckWritingOptions(const EvalCommand& command, const Task& task);

}  // namespace cadre
