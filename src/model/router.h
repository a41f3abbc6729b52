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
  Mat<int32_t> experts;  // [T, k] in order of choice; -1: unused. k: the config's top_k, or more
  Mat<float> gates;      // [T, k] weight of each choice; 0 where unused
  Mat<float> probs;      // [T, E] softmax over all experts

  // Memory for max_tokens rows of at most max_choices; SetTokens then chooses what is in view. 0
  // choices: the config's top_k.
  void Reserve(int64_t max_tokens, const RouterConfig& config, int64_t max_choices = 0);
  void SetTokens(int64_t tokens, const RouterConfig& config, int64_t choices = 0);

 private:
  Buffer<int32_t> expert_buffer_;
  Buffer<float> gate_buffer_;
  Buffer<float> prob_buffer_;
};

// Per-request wishes; an empty span means no wish.
struct RouterLimits {
  std::span<const int32_t> top_k = {};   // experts to use for a row of the step, from 1 to all
  std::span<const float> min_prob = {};  // for a row of the step: experts after the first whose
                                         // softmax over all is less are not used
  std::span<const int64_t> rows = {};    // [T] the step's row that a routed row is; empty: the same
  // [T, k of the config] for the step's rows: the experts to use, in order; -1: none from there on.
  // Gates are then as if the router had chosen these; the other wishes mean nothing.
  std::span<const int32_t> experts = {};

  // Most experts that a row may use.
  int64_t MaxChoices(const RouterConfig& config) const;
};

// logits: [T, E]. Highest logit first, ties to the lower expert, NaN never chosen before a number.
// `routing` has T rows.
void ChooseExperts(Mat<const float> logits, const RouterConfig& config, const RouterLimits& limits,
                   Routing& routing);

// The gates of one row as they follow from its choices. probs: [E]; picks, gates: [k used].
void SetGates(std::span<const float> probs, RouterSoftmax softmax, std::span<const int32_t> picks,
              std::span<float> gates);

}  // namespace cadre
