// What `cadre eval` says at its end, as JSON and as a table.
#pragma once

#include <string>

#include "base/json.h"
#include "eval/evaluate.h"
#include "eval/tasks/data_files.h"

namespace cadre {

struct EvalReport {
  const Task* task = nullptr;
  DataFiles files = {};
  int64_t num_items = 0;
  int shots = 0;
  int samples = 0;  // texts for each item; 0: the task is scored by likelihood
  bool bos = false;
  EvaluationResult result = {};
};

// {"task", each metric and "METRIC_stderr", "stderr": of the first one, "items", "shots", ...};
// metrics are shares of 1, but for perplexity.
OrderedJson ToJson(const EvalReport& report);

// Shares in per cent; what Mixtral's authors report beside them, and a line for each group.
std::string ToText(const EvalReport& report);

}  // namespace cadre
