// Supervised fine-tuning: a model learns the answers of conversations.
#pragma once

#include "align/tune_config.h"
#include "ops/backward.h"
#include "train/run.h"

namespace cadre {

// Starts from config.model (a path), or goes on. Leaves in options.out what Run leaves, and
// router-drift.json: how many tokens choose other experts than before, per layer, after the last
// step. The loss of a step is the mean over all its learnt tokens, however they lie in samples: a
// long answer counts for more than a short one, and parts of a step (micro_tokens) make no
// difference. Returns whether all steps are done. Throws Error for bad data.
bool Sft(const SftConfig& config, const RunControl& options, Device& device, BackwardOps& ops);

}  // namespace cadre
