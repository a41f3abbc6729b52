// What a step's logits are trained towards. The rest of a step is the same for all of training.
#pragma once

#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "ops/backward.h"
#include "train/batch.h"

namespace cadre {

class Objective {
 public:
  virtual ~Objective() = default;
  // The batches of the step that begins: a mean is over all of them.
  virtual void BeginStep(std::span<const TrainingBatch> batches) = 0;
  // The part of the loss that one of them has; `logits` [T, vocab] of its rows are replaced by that
  // part's gradient. Called for each once, in order.
  virtual double Apply(const TrainingBatch& batch, Mat<float> logits, ThreadPool& threads,
                       BackwardOps& ops) = 0;
};

// -log p of the targets, in nats: the mean over all targets of the step, however they lie in
// batches and sequences.
class CrossEntropy : public Objective {
 public:
  void BeginStep(std::span<const TrainingBatch> batches) override;
  double Apply(const TrainingBatch& batch, Mat<float> logits, ThreadPool& threads,
               BackwardOps& ops) override;

 private:
  double scale_ = 1;
  std::vector<float> losses_;
};

}  // namespace cadre
