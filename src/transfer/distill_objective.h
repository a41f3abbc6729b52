// A step's logits towards what a teacher says of the same tokens.
#pragma once

#include "train/objective.h"
#include "transfer/divergence.h"
#include "transfer/model_scorer.h"

namespace cadre {

// The mean over all targets of the step of DistillFigures::Total. Rows without a target teach
// nothing.
class DistillObjective : public Objective {
 public:
  // The teacher outlives the objective and has as many logits as the model that is trained.
  DistillObjective(const DistillLoss& loss, ModelScorer& teacher)
      : loss_(loss), teacher_(teacher) {}

  void BeginStep(std::span<const TrainingBatch> batches) override;
  double Apply(const TrainingBatch& batch, Mat<float> logits, ThreadPool& threads,
               BackwardOps& ops) override;

  // Means over the targets of the step so far.
  struct Means {
    double divergence = 0;
    double cross_entropy = 0;
    double top1_agreement = 0;
  };
  const Means& means() const { return means_; }

 private:
  DistillLoss loss_;
  ModelScorer& teacher_;
  double scale_ = 1;
  Means means_;
  std::vector<DistillFigures> rows_;
  std::vector<std::vector<float>> scratch_;  // of each thread
};

}  // namespace cadre
