// A training run from a configuration to the files of a model: tokenizer, data, steps, validation,
// checkpoints, metrics.
#pragma once

#include "train/run.h"
#include "train/train_config.h"

namespace cadre {

// Leaves in options.out: tokenizer.model, and what Run leaves. Returns whether all steps are done.
// Throws Error for bad data, and when `out` holds a run and resume is false.
bool Pretrain(const TrainConfig& config, const RunControl& options, Device& device,
              BackwardOps& ops);

}  // namespace cadre
