#include "transfer/distill_objective.h"

#include <algorithm>

#include "base/error.h"

namespace cadre {

void DistillObjective::BeginStep(std::span<const TrainingBatch> batches) {
  int64_t targets = 0;
  for (const auto& batch : batches) targets += batch.CountTargets();
  scale_ = 1.0 / static_cast<double>(std::max<int64_t>(1, targets));
  means_ = {};
}

double DistillObjective::Apply(const TrainingBatch& batch, Mat<float> logits, ThreadPool& threads,
                               BackwardOps& /*ops*/) {
  const Mat<float> taught = teacher_.Logits(batch);
  CADRE_CHECK(taught.rows == logits.rows && taught.cols == logits.cols);
  rows_.assign(batch.ids.size(), {});
  scratch_.resize(static_cast<size_t>(threads.num_threads()));
  threads.ParallelFor(logits.rows, [&](int64_t t, int thread) {
    const int32_t target = batch.targets[static_cast<size_t>(t)];
    const auto row = logits.row_span(t);
    if (target < 0) return std::fill(row.begin(), row.end(), 0.0f);
    rows_[static_cast<size_t>(t)] = DistillRow(loss_, taught.row_span(t), target, scale_, row,
                                               scratch_[static_cast<size_t>(thread)]);
  });
  double loss = 0;
  for (size_t t = 0; t < rows_.size(); ++t) {
    if (batch.targets[t] < 0) continue;
    loss += rows_[t].Total(loss_);
    means_.divergence += scale_ * rows_[t].divergence;
    means_.cross_entropy += scale_ * rows_[t].cross_entropy;
    means_.top1_agreement += rows_[t].agrees ? scale_ : 0;
  }
  return loss * scale_;
}

}  // namespace cadre
