// The memory of one forward pass. Inference hands every layer the same buffers, training gives each
// layer its own so that backward can read them; Forward does not know which.
#pragma once

#include <vector>

#include "model/dispatch.h"
#include "model/router.h"
#include "tensor/buffer.h"

namespace cadre {

// T tokens of the step, R rows whose FFN is computed (R < T only in the last layer), C = routed
// rows.
struct LayerActivations {
  Mat<float> x;          // [T, d] residual stream entering the layer
  Mat<float> attn_h;     // [T, d] normalised x
  Mat<float> q;          // [T, H * D] rotated
  Mat<float> k;          // [T, K * D] rotated
  Mat<float> v;          // [T, K * D]
  Mat<float> attn;       // [T, H * D] heads' outputs
  Mat<float> lse;        // [T, H] log of the softmax denominators; empty unless kept for backward
  Mat<float> attn_out;   // [T, d]
  Mat<float> x_mid;      // [T or R, d] residual stream after attention
  Mat<float> ffn_h;      // [R, d] normalised x_mid
  Mat<float> router_in;  // [R, d] what the router reads: ffn_h, or its copy with jitter
  Mat<float> router_logits;  // [R, E] with noise where the config has it
  Mat<float> noise_raw;      // [R, E] router_in W_noise^T; empty without noise, as the next
  Mat<float> noise;          // [R, E] the standard normal draws
  Routing routing;           // R rows
  std::vector<float> lots;   // [R] of second choices; empty where all run
  DispatchPlan plan;
  Mat<float> gathered;    // [C, d] ffn_h, a row per choice
  Mat<float> gate;        // [C, f] gathered w1^T
  Mat<float> up;          // [C, f] gathered w3^T
  Mat<float> act;         // [C, f] silu(gate) * up
  Mat<float> expert_out;  // [C, d] act w2^T
  Mat<float> moe_out;     // [R, d]
};

class Activations {
 public:
  enum class Keep { kOneLayer, kEveryLayer };

  Activations(const ModelConfig& config, Keep keep);

  // What a step of that many tokens allocates with Keep::kOneLayer.
  static int64_t InferenceBytes(const ModelConfig& config, int64_t tokens, int64_t choices);

  // Shapes the views for a step of T tokens (R = T) that choose at most `choices` experts (0: the
  // config's top_k); allocates only when either is larger than ever before.
  void SetTokens(int64_t tokens, int64_t choices = 0);

  LayerActivations& layer(int64_t i) {
    return layers_[keep_ == Keep::kEveryLayer ? static_cast<size_t>(i) : 0];
  }
  // The residual stream that layer i hands on: the next layer's x, or `out` after the last.
  Mat<float> after(int64_t i) { return i + 1 < config_.num_layers ? layer(i + 1).x : out_; }
  Mat<float> out() const { return out_; }          // [T, d] after the last layer
  Mat<float> final_h() const { return final_h_; }  // [T, d] normalised out

 private:
  void Allocate(int64_t max_tokens, int64_t max_choices);
  void SetLayer(size_t i, int64_t tokens, int64_t choices);

  ModelConfig config_;
  Keep keep_;
  int64_t max_tokens_ = 0;
  int64_t max_choices_ = 0;
  std::vector<LayerActivations> layers_;
  std::vector<std::vector<Buffer<float>>> buffers_;  // per layer, in the order of SetLayer
  Buffer<float> out_buffer_;
  Buffer<float> final_buffer_;
  Mat<float> out_;
  Mat<float> final_h_;
};

}  // namespace cadre
