// A training run's state on disk: one safetensors file per checkpoint with weights, moments and
// step, written whole or not at all. (A model's own files are read by formats/checkpoint.h.)
#pragma once

#include <cstdint>
#include <limits>
#include <string>

#include "train/schedule.h"
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
  // `folder` is made when the first checkpoint is written. Of the schedule, only that of kWsd
  // matters.
  explicit TrainingCheckpoints(std::string folder, const Schedule& schedule = {})
      : folder_(std::move(folder)), schedule_(schedule) {}

  // Writes step-NNNNNNNN.safetensors, then removes all but the newest two and the one at the end of
  // the schedule's stable phase, and what killed runs left unfinished.
  void Save(Trainer& trainer, const std::string& fingerprint,
            const RunProgress& progress = {}) const;

  // Restores the newest checkpoint; false when there is none. Where the schedule's decay is another
  // than that it was made in, the newest from before both decays; those behind it are removed, and
  // validations count from new. Throws Error when it was made with another fingerprint or does not
  // fit the trainer's model, and when no such checkpoint is left.
  bool Restore(Trainer& trainer, const std::string& fingerprint,
               RunProgress* progress = nullptr) const;

  bool Any() const;

 private:
  std::string folder_;
  Schedule schedule_;
};

}  // namespace cadre
