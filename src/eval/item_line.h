// The line of an item in the record:
//   {"task", "index", "id", "group", "prompt_ids": [...],
//    "choices": [{"ids": [...], "log_likelihood", "greedy", "characters", "bytes"}, ...],
//    "gold", "answer", "correct", and each metric's value of this item}
// `index` counts from 0 in the order of the data, `answer` is the choice with the largest sum,
// `correct` the value of the first metric. Where every choice has a prompt of its own (WinoGrande),
// its "prompt_ids" stand in the choice. A prompt that lost its beginning to fit has "cut": true.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "eval/likelihood.h"
#include "eval/tasks/task.h"

namespace cadre {

struct ScoredItem {
  std::vector<Likelihood> scores;
  bool is_cut = false;
};

OrderedJson ItemLine(const Task& task, size_t index, const EvalItem& item,
                     const ItemRequests& requests, const ScoredItem& scored);

// What such a line says. Throws Error where it is not of this item.
ScoredItem ParseItemLine(const Json& line, size_t index, const EvalItem& item,
                         const std::string& name);

}  // namespace cadre
