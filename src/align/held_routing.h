// Tuning that leaves the routing of the model before in place: what that model's routers say of
// each token goes with the batches, for the anchor (train/losses.h) and for replay. It is computed
// for every step by running the model before, as it lies in its files: no copy of its weights,
// nothing on disk, and by contract 1 the same whatever shares a batch.
#pragma once

#include <optional>
#include <vector>

#include "align/tune_config.h"
#include "model/activations.h"
#include "model/experts.h"
#include "model/kv_cache.h"
#include "model/weights.h"
#include "ops/device.h"
#include "train/task.h"

namespace cadre {

// The routing of a model.
class BaseRouting {
 public:
  struct Wanted {
    bool probs = false;
    bool experts = false;
  };

  // The model's weights and the device outlive this. Not of a dense model.
  BaseRouting(const Model& base, Wanted wanted, Device& device);

  // Fills batch.routing with what was wanted.
  void Fill(TrainingBatch& batch);

 private:
  Model base_;  // with the router as it runs outside training
  Wanted wanted_;
  Device& device_;
  ResidentExperts experts_;
  Activations activations_;
  KvPagePool pages_;
};

// A task whose batches carry the base's routing where the configuration asks for it; else the task
// as it is.
class HeldTask : public Task {
 public:
  // Throws Error when it asks and the model has no routers. All outlive this.
  HeldTask(Task& task, const TuneConfig& config, const Model& base, Device& device);

  void FillBatches(int64_t step, std::vector<TrainingBatch>& batches) override;
  Objective& objective() override { return task_.objective(); }
  void AddMetrics(const StepResult& result, OrderedJson& line) override {
    task_.AddMetrics(result, line);
  }
  bool MeasuresBeginning() const override { return task_.MeasuresBeginning(); }
  std::optional<Validation> Validate(Trainer& trainer, bool is_last) override {
    return task_.Validate(trainer, is_last);
  }

 private:
  Task& task_;
  std::optional<BaseRouting> routing_;
};

}  // namespace cadre
