// What every training run is told, whatever it trains towards.
#pragma once

#include <optional>

#include "tensor/dtype.h"
#include "train/config_keys.h"
#include "train/schedule.h"
#include "train/trainer.h"

namespace cadre {

struct RunConfig {
  std::string name = "model";
  uint64_t seed = 1;
  int64_t steps = 1000;
  Schedule schedule;  // its steps follow from `steps`
  OptimiserConfig optimiser;
  std::optional<BalanceScope> balance_scope;  // as it was asked for

  int64_t checkpoint_every = 200;
  int64_t validate_every = 500;
  int64_t patience = 0;    // validations without a better one that end the run; 0: never
  bool keep_best = false;  // the model written at the end is that of the best validation
  DType gguf_type = DType::kF16;

  // What a run must not change when it goes on (its number of steps it may), as canonical JSON.
  std::string fingerprint;
};

}  // namespace cadre
