// Steps on text, towards what comes next and, where there is a teacher, towards what it says.
#pragma once

#include <map>
#include <memory>
#include <optional>

#include "base/json.h"
#include "train/task.h"
#include "transfer/distill_objective.h"
#include "transfer/measure.h"
#include "transfer/step_data.h"

namespace cadre {

// Part of a teacher's gain over a baseline that a student keeps: (baseline - student) / (baseline -
// teacher) of their losses; none where the teacher is not better than the baseline.
std::optional<double> GainRetained(double baseline, double student, double teacher);

class TransferTask : public Task {
 public:
  // Towards what comes next. All arguments outlive the task.
  TransferTask(StepData& data, Device& device);
  // Towards a teacher too. baseline: what the student's gain is told against; null for none.
  TransferTask(StepData& data, Device& device, const DistillLoss& loss, ModelScorer& teacher,
               ModelScorer* baseline);

  void FillBatches(int64_t step, std::vector<TrainingBatch>& batches) override;
  Objective& objective() override;
  void AddMetrics(const StepResult& result, OrderedJson& line) override;
  bool MeasuresBeginning() const override { return true; }
  std::optional<Validation> Validate(Trainer& trainer, bool is_last) override;

 private:
  double BaselineLoss(bool all);

  StepData& data_;
  Device& device_;
  CrossEntropy cross_entropy_;
  std::optional<DistillObjective> distill_;
  ModelScorer* teacher_ = nullptr;
  ModelScorer* baseline_ = nullptr;
  std::map<bool, double> baseline_losses_;  // by whether all is measured: always the same
  std::unique_ptr<ModelScorer> scorer_;     // of the trainer's weights
};

}  // namespace cadre
