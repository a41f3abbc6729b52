// From log-likelihoods to the figures of a benchmark.
#pragma once

#include <span>
#include <vector>

#include "eval/likelihood.h"
#include "eval/mean.h"
#include "eval/tasks/task.h"

namespace cadre {

// The request that `metric` says is the model's answer; ties: the first. Of kAcc, kAccNorm,
// kAccBytes.
size_t ChosenAnswer(Metric metric, const EvalItem& item, std::span<const Likelihood> scores);

// What the item adds to the metric's mean: 1 or 0, a share, or for kPerplexity minus the sum; NaN
// where it does not count.
double ItemValue(Metric metric, const EvalItem& item, std::span<const Likelihood> scores);

// The metric over items of which these are the values (NaN: not counted), with its standard error
// (of kPerplexity by the delta method).
MeanAndError Aggregate(Metric metric, std::span<const double> values);

}  // namespace cadre
