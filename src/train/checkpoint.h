// A training run's state on disk: one safetensors file per checkpoint with weights, moments and
// step, written whole or not at all. (A model's own files are read by formats/checkpoint.h.)
#pragma once

#include <cstdint>
#include <string>

#include "train/trainer.h"

namespace cadre {

class TrainingCheckpoints {
 public:
  // `folder` is made when the first checkpoint is written.
  explicit TrainingCheckpoints(std::string folder) : folder_(std::move(folder)) {}

  // Writes step-NNNNNNNN.safetensors, then removes all but the newest two, and what killed runs
  // left unfinished.
  void Save(Trainer& trainer, const std::string& fingerprint) const;

  // Restores the newest checkpoint; false when there is none. Throws Error when it was made with
  // another fingerprint or does not fit the trainer's model.
  bool Restore(Trainer& trainer, const std::string& fingerprint) const;

  bool Any() const;

 private:
  std::string folder_;
};

}  // namespace cadre
