#include "model/activations.h"

#include <algorithm>
#include <array>
#include <numeric>

namespace cadre {
namespace {

// The float buffers of a layer, in a fixed order.
enum Slot {
  kX,
  kAttnH,
  kQ,
  kK,
  kV,
  kAttn,
  kLse,
  kAttnOut,
  kXMid,
  kFfnH,
  kRouterIn,
  kLogits,
  kNoiseRaw,
  kNoise,
  kGathered,
  kGate,
  kUp,
  kAct,
  kExpertOut,
  kMoeOut,
  kNumSlots
};

// How many elements each has in a step of t tokens.
std::array<int64_t, kNumSlots> Elements(const ModelConfig& c, Activations::Keep keep, int64_t t,
                                        int64_t choices) {
  const bool all = keep == Activations::Keep::kEveryLayer;
  const int64_t routed = t * choices;
  std::array<int64_t, kNumSlots> size{};
  size[kX] = t * c.dim;
  size[kAttnH] = t * c.dim;
  size[kQ] = t * c.q_dim();
  size[kK] = t * c.kv_dim();
  size[kV] = t * c.kv_dim();
  size[kAttn] = t * c.q_dim();
  size[kLse] = all ? t * c.num_heads : 0;
  size[kAttnOut] = t * c.dim;
  size[kXMid] = all ? t * c.dim : 0;  // else x itself
  size[kFfnH] = t * c.dim;
  size[kRouterIn] = c.router.jitter > 0 ? t * c.dim : 0;  // else ffn_h itself
  size[kLogits] = t * c.router.num_experts;
  size[kNoiseRaw] = c.router.noise ? t * c.router.num_experts : 0;
  size[kNoise] = c.router.noise ? t * c.router.num_experts : 0;
  size[kGathered] = routed * c.dim;
  size[kGate] = routed * c.hidden_dim;
  size[kUp] = routed * c.hidden_dim;
  size[kAct] = all ? routed * c.hidden_dim : 0;  // else gate itself
  size[kExpertOut] = routed * c.dim;
  size[kMoeOut] = t * c.dim;
  return size;
}

}  // namespace

Activations::Activations(const ModelConfig& config, Keep keep) : config_(config), keep_(keep) {
  const size_t num_layers = keep == Keep::kEveryLayer ? static_cast<size_t>(config.num_layers) : 1;
  layers_.resize(num_layers);
  buffers_.resize(num_layers);
}

int64_t Activations::InferenceBytes(const ModelConfig& config, int64_t tokens, int64_t choices) {
  const auto elements = Elements(config, Keep::kOneLayer, tokens, choices);
  const int64_t floats =
      std::accumulate(elements.begin(), elements.end(), int64_t{0}) + tokens * config.dim;
  // Routing: experts, gates, probabilities; the plan: a token for each row, a row for each choice.
  const int64_t routing = tokens * (4 * choices + config.router.num_experts);
  return 4 * (floats + routing);
}

void Activations::Allocate(int64_t max_tokens, int64_t max_choices) {
  const auto& c = config_;
  const int64_t t = max_tokens;
  const auto elements = Elements(c, keep_, t, max_choices);
  for (size_t i = 0; i < layers_.size(); ++i) {
    auto& slots = buffers_[i];
    slots.resize(kNumSlots);
    for (size_t slot = 0; slot < kNumSlots; ++slot) slots[slot].Resize(elements[slot]);
    layers_[i].routing.Reserve(t, c.router, max_choices);
  }
  if (keep_ == Keep::kEveryLayer) out_buffer_.Resize(t * c.dim);
  final_buffer_.Resize(t * c.dim);
  max_tokens_ = max_tokens;
  max_choices_ = max_choices;
}

void Activations::SetLayer(size_t i, int64_t tokens, int64_t choices) {
  const auto& c = config_;
  const bool all = keep_ == Keep::kEveryLayer;
  const auto& slots = buffers_[i];
  const int64_t routed = tokens * choices;
  auto& a = layers_[i];
  a.x = slots[kX].AsMat(tokens, c.dim);
  a.attn_h = slots[kAttnH].AsMat(tokens, c.dim);
  a.q = slots[kQ].AsMat(tokens, c.q_dim());
  a.k = slots[kK].AsMat(tokens, c.kv_dim());
  a.v = slots[kV].AsMat(tokens, c.kv_dim());
  a.attn = slots[kAttn].AsMat(tokens, c.q_dim());
  a.lse = all ? slots[kLse].AsMat(tokens, c.num_heads) : Mat<float>();
  a.attn_out = slots[kAttnOut].AsMat(tokens, c.dim);
  a.x_mid = all ? slots[kXMid].AsMat(tokens, c.dim) : a.x;
  a.ffn_h = slots[kFfnH].AsMat(tokens, c.dim);
  a.router_in = c.router.jitter > 0 ? slots[kRouterIn].AsMat(tokens, c.dim) : a.ffn_h;
  a.router_logits = slots[kLogits].AsMat(tokens, c.router.num_experts);
  if (c.router.noise) {
    a.noise_raw = slots[kNoiseRaw].AsMat(tokens, c.router.num_experts);
    a.noise = slots[kNoise].AsMat(tokens, c.router.num_experts);
  }
  a.routing.SetTokens(tokens, c.router, choices);
  a.gathered = slots[kGathered].AsMat(routed, c.dim);
  a.gate = slots[kGate].AsMat(routed, c.hidden_dim);
  a.up = slots[kUp].AsMat(routed, c.hidden_dim);
  a.act = all ? slots[kAct].AsMat(routed, c.hidden_dim) : a.gate;
  a.expert_out = slots[kExpertOut].AsMat(routed, c.dim);
  a.moe_out = slots[kMoeOut].AsMat(tokens, c.dim);
}

void Activations::SetTokens(int64_t tokens, int64_t choices) {
  if (choices == 0) choices = config_.router.top_k;
  if (tokens > max_tokens_ || choices > max_choices_)
    Allocate(std::max(tokens, max_tokens_), std::max(choices, max_choices_));
  for (size_t i = 0; i < layers_.size(); ++i) SetLayer(i, tokens, choices);
  out_ = keep_ == Keep::kEveryLayer ? out_buffer_.AsMat(tokens, config_.dim) : layers_[0].x;
  final_h_ = final_buffer_.AsMat(tokens, config_.dim);
}

}  // namespace cadre
