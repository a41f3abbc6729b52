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
  int64_t decay_steps = -1;         // of a schedule that is stable first; -1: a fifth of `steps`
  std::optional<DecayShape> decay;  // likewise; empty: Schedule's own
  Schedule schedule;                // its steps and decay follow from these
  OptimiserConfig optimiser;
  std::optional<BalanceScope> balance_scope;  // as it was asked for

  int64_t checkpoint_every = 200;
  int64_t validate_every = 500;
  int64_t patience = 0;    // validations without a better one that end the run; 0: never
  bool keep_best = false;  // the model written at the end is that of the best validation
  DType gguf_type = DType::kF16;

  // What a run must not change when it goes on (its number of steps it may), as canonical JSON.
  std::string fingerprint;
  std::string given;  // every key that was given, likewise; empty: not known
};

}  // namespace cadre
