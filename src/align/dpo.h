// Direct preference optimisation: a model learns which of two answers is preferred, held to what it
// was. Source: arXiv 2305.18290.
#pragma once

#include "align/tune_config.h"
#include "ops/backward.h"
#include "train/run.h"

namespace cadre {

// Starts from config.model (a path), which is the reference too, or goes on. Leaves in options.out
// what Run leaves, router-drift.json as Sft, and reference.jsonl (align/reference_cache.h). Returns
// whether all steps are done; false also when stopped before the first. Throws Error for bad data,
// and for a model that drops tokens: what it gives an answer depends on what shares the batch.
bool Dpo(const DpoConfig& config, const RunControl& options, Device& device, BackwardOps& ops);

}  // namespace cadre
