// What a training run is about: its data, what the logits are trained towards, how well it goes.
// The run itself (train/run.h) knows nothing of these.
#pragma once

#include <optional>
#include <vector>

#include "base/json_fwd.h"
#include "train/trainer.h"

namespace cadre {

struct Validation {
  OrderedJson figures;
  double score = 0;  // lower is better; of the same data each time
};

class Task {
 public:
  virtual ~Task() = default;

  // The batches of a step, from 0: a function of the step alone. Their memory may be used again.
  virtual void FillBatches(int64_t step, std::vector<TrainingBatch>& batches) = 0;
  virtual Objective& objective() = 0;
  // Adds what there is to say of the step just done to its line of the record.
  virtual void AddMetrics(const StepResult& result, OrderedJson& line) = 0;
  // Whether the weights that the run begins with are measured too, as step 0 of the record.
  virtual bool MeasuresBeginning() const { return false; }
  // None: there is no held-back data. `is_last`: all steps are done.
  virtual std::optional<Validation> Validate(Trainer& trainer, bool is_last) = 0;
};

}  // namespace cadre
