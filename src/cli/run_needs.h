// What one sequence of the commands needs besides weights, from its model's shape alone.
#pragma once

#include "model/config.h"
#include "store/fitted_model.h"

namespace cadre {

// What the sampler makes of a row of logits, bytes for each: probabilities and their order.
inline constexpr int64_t kSamplerBytes = 32;

// Pages of keys and values of one sequence that grows to this length, run in steps of step_tokens.
int64_t PagesOf(const ModelConfig& config, int64_t positions, int64_t step_tokens);
// The needs of one that begins with a prompt.
RunNeeds OneSequence(const ModelConfig& config, int64_t positions, int64_t prompt_tokens);
// Of many that are served side by side, but for their pages.
RunNeeds ManySequences(const ModelConfig& config, int64_t parallel, int64_t step_tokens);

}  // namespace cadre
