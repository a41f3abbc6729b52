// Steps of supervised fine-tuning out of samples: whole samples packed into steps of batch_tokens,
// each a sequence of its own, drawn from the sources by weight.
#pragma once

#include <memory>
#include <optional>

#include "align/instruction_data.h"
#include "align/router_drift.h"
#include "train/mixture.h"
#include "train/task.h"

namespace cadre {

class SftTask : public Task {
 public:
  // `valid` adds sources that are only measured. The data outlives the task.
  SftTask(const SftConfig& config, const std::vector<InstructionSource>& train,
          const std::vector<InstructionSource>& valid);

  // Remembers the routing of the trainer's present weights, for the drift that validations report.
  void RememberRouting(Trainer& trainer);
  // After it.
  const RouterDrift& drift() const { return *drift_; }

  void FillBatches(int64_t step, std::vector<TrainingBatch>& batches) override;
  Objective& objective() override { return objective_; }
  void AddMetrics(const StepResult& result, OrderedJson& line) override;
  bool MeasuresBeginning() const override { return true; }
  std::optional<Validation> Validate(Trainer& trainer, bool is_last) override;

 private:
  struct Group {
    std::string name;
    const SampleSet* samples;
  };
  int64_t RowsOf(const Mixture::Draw& draw) const;
  std::vector<Mixture::Draw> DrawStep();
  OrderedJson ValidateGroup(Trainer& trainer, const Group& group, double& loss) const;

  const SftConfig& config_;
  const std::vector<InstructionSource>& train_;
  std::vector<Group> groups_;
  Mixture mixture_;
  std::optional<Mixture::Draw> pending_;  // drawn, but for the next step
  int64_t next_step_ = 0;
  int64_t rows_ = 0;     // of all steps so far
  int64_t samples_ = 0;  // of all steps so far
  CrossEntropy objective_;
  std::unique_ptr<RouterDrift> drift_;
};

}  // namespace cadre
