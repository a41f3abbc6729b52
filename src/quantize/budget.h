// Types for the tensors of a file of at most so many bytes: each the one where a byte more takes
// most off the expected divergence from the unquantised model. What an error in a tensor costs is
// measured, not assumed: errors weigh by the inputs they meet (an importance matrix, so an expert
// counts as often as it is chosen) and by what such errors do to the model's output
// (sensitivity.h).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "model/tensor_plan.h"
#include "quantize/importance.h"

namespace cadre {

// A type that a tensor may take.
struct TypeOption {
  DType type;
  uint64_t bytes;  // of the tensor, with the padding behind it
  double cost;     // expected divergence, nats per token
};

// One option for each tensor, of at most `bytes` together: steps along the lower convex hull of
// each tensor's costs, the largest gain per byte first. Returns their places; throws Error when not
// even the smallest fit.
std::vector<size_t> ChooseOptions(const std::vector<std::vector<TypeOption>>& tensors,
                                  uint64_t bytes);

struct BudgetPlan {
  std::map<std::string, DType> types;  // by the tensor's name
  double expected_kl = 0;              // nats per token; a share of the model's own error where
                                       // sensitivities were not measured
};

// For the tensors of a plan (norms and routers keep the type they have there, which counts), whose
// weights must lie in mapped files: of every matrix a sample of rows is tried in each type, and its
// pages are given back. `on_progress` counts tensors.
BudgetPlan PlanForBudget(const std::vector<PlannedTensor>& plan, const Importance& importance,
                         uint64_t bytes, ThreadPool& threads,
                         const std::function<void(int64_t done, int64_t total)>& on_progress);

}  // namespace cadre
