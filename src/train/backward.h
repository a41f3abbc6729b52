// THE PAGE, read upward: the gradient of model/forward.cc, one operation after another in the
// opposite order. Gradients are added to an arena that lies like the weights' (model/parameters.h).
// Source: the chain rule. The choice of experts is a constant; gates pass gradient through their
// softmax (arXiv 1701.06538 section 2.1, arXiv 2101.03961 section 2.2).
#pragma once

#include "model/forward.h"
#include "model/parameters.h"
#include "ops/backward.h"
#include "train/losses.h"

namespace cadre {

// The gradient arena seen through the weights: where a weight lies in its arena, its gradient lies
// in this one.
class GradientArena {
 public:
  GradientArena(const float* weights, float* gradients)
      : weights_(weights), gradients_(gradients) {}

  Mat<float> Of(const Weight& w) const {
    return {gradients_ + (reinterpret_cast<const float*>(w.data) - weights_), w.rows, w.cols};
  }
  std::span<float> Of(std::span<const float> norm) const {
    return {gradients_ + (norm.data() - weights_), norm.size()};
  }

 private:
  const float* weights_;
  float* gradients_;
};

// Memory of the backward pass, of one layer at a time. Shapes as the field of the same name in
// LayerActivations.
class BackwardScratch {
 public:
  explicit BackwardScratch(const ModelConfig& config) : config_(config) {}
  void SetTokens(int64_t tokens);

  Mat<float> d_x;       // [T, d] the residual stream's gradient, on its way up
  Mat<float> d_branch;  // [T, d] of what a branch added, after dropout
  Mat<float> d_h;       // [T, d] of a normalised input
  Mat<float> d_q, d_k, d_v, d_attn;
  Mat<float> d_gathered, d_gate, d_up, d_act, d_expert_out;
  Mat<float> d_gates;      // [T, k]
  Mat<float> d_logits;     // [T, E] of the router
  Mat<float> d_router_in;  // [T, d]; empty without jitter
  Mat<float> d_clean;  // [T, E] of the logits before noise, beyond d_logits; empty without noise
  Mat<float> d_noise;  // [T, E] of the noise's deviation, then of noise_raw; likewise

 private:
  ModelConfig config_;
  std::vector<Buffer<float>> buffers_;
};

struct BackwardInput {
  const Model& model;  // weights in a float32 arena
  const Batch& batch;  // as Forward got it; all rows wanted
  const ForwardOptions& options;
  Activations& activations;   // Keep::kEveryLayer, as Forward left them
  Mat<const float> d_logits;  // [T, vocab]
  const RouterLosses& router_losses;
};

// Adds the gradient of every weight to `gradients`.
void Backward(const BackwardInput& in, Device& device, BackwardOps& ops, BackwardScratch& scratch,
              const GradientArena& gradients);

}  // namespace cadre
