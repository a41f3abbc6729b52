// A training run's state on disk: one safetensors file per checkpoint with weights, moments and
// step, written whole or not at all. (A model's own files are read by formats/checkpoint.h.)
#pragma once

#include <cstdint>
#include <limits>
#include <string>

#include "train/trainer.h"

namespace cadre {

// What a run knows beside its weights: how its validations went.
struct RunProgress {
  double best_score = std::numeric_limits<double>::infinity();  // lower is better
  int64_t best_step = 0;                                        // 0: none yet
  int64_t worse_since = 0;                                      // validations since the best one
};

class TrainingCheckpoints {
 public:
  // `folder` is made when the first checkpoint is written.
  explicit TrainingCheckpoints(std::string folder) : folder_(std::move(folder)) {}

  // Writes step-NNNNNNNN.safetensors, then removes all but the newest two, and what killed runs
  // left unfinished.
  void Save(Trainer& trainer, const std::string& fingerprint,
            const RunProgress& progress = {}) const;

  // Restores the newest checkpoint; false when there is none. Throws Error when it was made with
  // another fingerprint or does not fit the trainer's model.
  bool Restore(Trainer& trainer, const std::string& fingerprint,
               RunProgress* progress = nullptr) const;

  bool Any() const;

 private:
  std::string folder_;
};

}  // namespace cadre
