// Steps of preference optimisation out of pairs and the reference's log-probabilities.
#pragma once

#include <memory>

#include "align/preference_data.h"
#include "align/preference_objective.h"
#include "align/reference_cache.h"
#include "align/router_drift.h"
#include "train/mixture.h"
#include "train/task.h"

namespace cadre {

// A pair and what the reference gives it.
struct ReferredPair {
  const Pair* pair = nullptr;
  ReferencePair reference;
};

// Appends the pair's two sequences.
void AddPair(const ReferredPair& pair, TrainingBatch& batch);

// Log-probabilities of the pairs' answers under the trainer's present weights.
std::vector<ReferencePair> ScorePairs(Trainer& trainer, std::span<const Pair* const> pairs,
                                      int64_t micro_tokens);

class DpoTask : public Task {
 public:
  struct Source {
    std::string name;
    double weight = 0;
    std::vector<ReferredPair> train;
    std::vector<ReferredPair> held_back;
  };

  DpoTask(const DpoConfig& config, std::vector<Source> sources);

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
  std::span<const ReferredPair> Measured(const Source& source) const;
  void WarnOfBadBeginning(const PreferenceMetrics& metrics);
  void WarnOfDisplacement(const PreferenceMetrics& metrics);

  const DpoConfig& config_;
  std::vector<Source> sources_;
  Mixture mixture_;
  int64_t next_step_ = 0;
  PreferenceObjective objective_;
  std::unique_ptr<RouterDrift> drift_;
  bool warned_of_displacement_ = false;
};

}  // namespace cadre
