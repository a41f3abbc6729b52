#include "train/objective.h"

#include <algorithm>
#include <numeric>

namespace cadre {

void CrossEntropy::BeginStep(std::span<const TrainingBatch> batches) {
  int64_t targets = 0;
  for (const auto& batch : batches) targets += batch.CountTargets();
  scale_ = 1.0 / static_cast<double>(std::max<int64_t>(1, targets));
}

double CrossEntropy::Apply(const TrainingBatch& batch, Mat<float> logits, ThreadPool& /*threads*/,
                           BackwardOps& ops) {
  losses_.resize(batch.ids.size());
  ops.CrossEntropy(logits, batch.targets, static_cast<float>(scale_), losses_);
  return std::accumulate(losses_.begin(), losses_.end(), 0.0) * scale_;
}

}  // namespace cadre
