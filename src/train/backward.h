// THE PAGE, read upward: the gradient of model/forward.cc, one operation after another in the
// opposite order. Gradients are added to an arena that lies like the weights' (model/parameters.h).
// Source: the chain rule. The choice of experts is a constant; gates pass gradient through their
// softmax (arXiv 1701.06538 section 2.1, arXiv 2101.03961 section 2.2).
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "model/forward.h"
#include "model/parameters.h"
#include "ops/backward.h"
#include "train/losses.h"

namespace cadre {

// The gradient arena seen through the weights: where a weight lies in its arena, its gradient lies
// in this one.
class GradientArena {
 public:
  // Of one size.
  GradientArena(std::span<const float> weights, std::span<float> gradients)
      : weights_(weights), gradients_(gradients) {}

  // Empty for a weight that lies elsewhere: it is not trained.
  Mat<float> Of(const Weight& w) const {
    if (!Has(w.data)) return {};
    const auto offset = reinterpret_cast<const float*>(w.data) - weights_.data();
    return {gradients_.data() + offset, w.rows, w.cols};
  }
  std::span<float> Of(std::span<const float> norm) const {
    if (!Has(norm.data())) return {};
    return gradients_.subspan(static_cast<size_t>(norm.data() - weights_.data()), norm.size());
  }

 private:
  bool Has(const void* data) const {
    const std::less<const void*> before;
    return !before(data, weights_.data()) && before(data, weights_.data() + weights_.size());
  }

  std::span<const float> weights_;
  std::span<float> gradients_;
};

// Memory of the backward pass, of one layer at a time. Shapes as the field of the same name in
// LayerActivations.
class BackwardScratch {
 public:
  explicit BackwardScratch(const ModelConfig& config) : config_(config) {}
  void SetTokens(int64_t tokens);

  Mat<float> d_x;  // [T, d] the residual stream's gradient, on its way up
  Mat<float> d_h;  // [T, d] of a normalised input
  Mat<float> d_q, d_k, d_v, d_attn;
  Mat<float> d_gathered, d_gate, d_up, d_act, d_expert_out;
  Mat<float> d_gates;      // [T, k]
  Mat<float> d_logits;     // [T, E] of the router
  Mat<float> d_router_in;  // [T, d]; empty without jitter
  Mat<float> d_clean;  // [T, E] of the logits before noise, beyond d_logits; empty without noise
  Mat<float> d_noise;  // [T, E] of the noise's deviation, then of noise_raw; likewise

  // [T, d] of what a branch added, after dropout. Until the next call.
  Mat<float> DropoutGradient() { return Reserved(d_branch_, d_x.rows, d_x.cols); }
  // [rows, rank] what a low rank's `down` makes of its input, and the gradient of that. Until the
  // next call.
  Mat<float> LowRankHidden(int64_t rows, int64_t rank) { return Reserved(hidden_, rows, rank); }
  Mat<float> LowRankGradient(int64_t rows, int64_t rank) { return Reserved(d_hidden_, rows, rank); }

 private:
  static Mat<float> Reserved(Buffer<float>& buffer, int64_t rows, int64_t cols) {
    buffer.Reserve(rows * cols);
    return buffer.AsMat(rows, cols);
  }

  ModelConfig config_;
  std::vector<Buffer<float>> buffers_;
  Buffer<float> d_branch_, hidden_, d_hidden_;
};

struct BackwardInput {
  const Model& model;  // what is trained lies in the arena; the rest is of any stored type
  const Batch& batch;  // as Forward got it; all rows wanted
  const ForwardOptions& options;
  Activations& activations;   // Keep::kEveryLayer, as Forward left them
  Mat<const float> d_logits;  // [T, vocab]
  const RouterLosses& router_losses;
};

// Adds the gradient of every weight that `gradients` has to it.
void Backward(const BackwardInput& in, Device& device, BackwardOps& ops, BackwardScratch& scratch,
              const GradientArena& gradients);

}  // namespace cadre
