// A model as a function from the sequences of a batch to logits, forward only, as it is run: no
// capacity, no noise, no dropout. For teachers, and for what is measured.
#pragma once

#include <vector>

#include "model/experts.h"
#include "model/forward.h"
#include "model/kv_cache.h"
#include "train/batch.h"

namespace cadre {

class ModelScorer {
 public:
  // The weights of `model` and the device outlive it.
  ModelScorer(const Model& model, Device& device, ActivationType activation = ActivationType::kF32);
  ModelScorer(const ModelScorer&) = delete;
  ModelScorer& operator=(const ModelScorer&) = delete;

  // [T, vocab] of the batch's rows; the caller may write to it. Valid until the next call.
  Mat<float> Logits(const TrainingBatch& batch, const RoutingObserver* observer = nullptr);

  const ModelConfig& config() const { return model_.config; }

 private:
  Model model_;
  Device& device_;
  ForwardOptions options_;
  ResidentExperts experts_;
  Activations activations_;
  KvPagePool pages_;
  std::vector<int64_t> all_rows_;
  Buffer<float> logits_;
};

}  // namespace cadre
