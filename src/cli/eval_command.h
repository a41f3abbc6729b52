// What the parts of `cadre eval` share: the options, and a benchmark made ready from them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/eval_report.h"
#include "cli/session.h"
#include "eval/eval_record.h"

namespace cadre {

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
};

// The items and what stands before them. Not movable: parts refer to each other.
struct PreparedBenchmark {
  // Reads the data. Throws Error.
  explicit PreparedBenchmark(const EvalCommand& command);
  PreparedBenchmark(const PreparedBenchmark&) = delete;
  PreparedBenchmark& operator=(const PreparedBenchmark&) = delete;

  Benchmark benchmark() const { return {.task = &task, .items = &items, .shots = &*shots}; }

  const Task& task;
  DataFiles files;
  std::vector<EvalItem> items;
  int num_shots = 0;
  std::vector<EvalItem> pool;  // of examples
  std::optional<Shots> shots;
};

// The head of the record: all that a run which goes on with it must have the same.
OrderedJson RecordHead(const EvalCommand& command, const PreparedBenchmark& prepared, bool bos,
                       int64_t context);

// Scores by likelihood, or lets the model write; each with the record and a progress bar.
EvaluationResult RunLikelihood(const EvalCommand& command, const PreparedBenchmark& prepared,
                               ModelSession& session, const PromptEncoder& encoder);
EvaluationResult RunWriting(const EvalCommand& command, const PreparedBenchmark& prepared,
                            ModelSession& session, const PromptEncoder& encoder);

// Texts for each item: as asked for, else one.
int NumSamples(const EvalCommand& command);

// Options of tasks whose answers the model writes. Throws Error where one is given and the task is
// scored by likelihood.
void AddWritingOptions(CLI::App& app, EvalCommand& command);
void CheckWritingOptions(const EvalCommand& command, const Task& task);

}  // namespace cadre
