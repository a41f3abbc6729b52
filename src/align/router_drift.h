// How far tuning has moved the routers: the experts that the same tokens choose before and after.
#pragma once

#include <string>
#include <vector>

#include "base/json_fwd.h"
#include "train/trainer.h"

namespace cadre {

// How many rows tell enough: fewer for a large model, so that measuring takes seconds, not the time
// of many steps.
int64_t DriftRows(const ModelConfig& config);

class RouterDrift {
 public:
  // Remembers what the trainer's present weights choose for the batches' rows.
  RouterDrift(Trainer& trainer, std::vector<TrainingBatch> batches);

  struct Layer {
    double changed = 0;        // share of rows that choose another set of experts than before
    double other_choices = 0;  // share of choices that were none of the row's before
  };
  // Of the present weights, per layer. Empty for a dense model and without rows.
  std::vector<Layer> Measure(Trainer& trainer) const;

  // {"changed", "other_choices", "layers": [changed...]}: means over layers, and each; null where
  // there is nothing to compare.
  OrderedJson Figures(Trainer& trainer) const;

  // Writes what Measure says, layer by layer, and logs the mean. Nothing for a dense model.
  void Report(Trainer& trainer, const std::string& path) const;

 private:
  // The chosen experts of every row of every layer, ascending: [layers][rows * k].
  std::vector<std::vector<int32_t>> Choices(Trainer& trainer) const;

  std::vector<TrainingBatch> batches_;
  std::vector<std::vector<int32_t>> before_;
};

}  // namespace cadre
