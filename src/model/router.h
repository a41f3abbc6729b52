// From router logits to chosen experts and gates. Pure: no noise, no state.
// Source: Mixtral, arXiv 2401.04088 section 2.1; Switch, arXiv 2101.03961.
#pragma once

#include <cstdint>
#include <span>

#include "model/config.h"
#include "tensor/buffer.h"

namespace cadre {

// What the router said about T tokens. The buffers hold the largest step so far; use the views.
struct Routing {
  Mat<int32_t> experts;  // [T, k] in order of choice; -1: unused
  Mat<float> gates;      // [T, k] weight of each choice; 0 where unused
  Mat<float> probs;      // [T, E] softmax over all experts

  // Memory for max_tokens rows; SetTokens then chooses how many are in view.
  void Reserve(int64_t max_tokens, const RouterConfig& config);
  void SetTokens(int64_t tokens, const RouterConfig& config);

 private:
  Buffer<int32_t> expert_buffer_;
  Buffer<float> gate_buffer_;
  Buffer<float> prob_buffer_;
};

// Per-request wishes; an empty span means no wish.
struct RouterLimits {
  std::span<const int32_t> top_k;  // experts to use for a row of the step, at most the config's
  std::span<const int64_t> rows;   // [T] the step's row that a routed row is; empty: the same
};

// logits: [T, E]. Highest logit first, ties to the lower expert, NaN never chosen before a number.
// `routing` has T rows.
void ChooseExperts(Mat<const float> logits, const RouterConfig& config, const RouterLimits& limits,
                   Routing& routing);

}  // namespace cadre
