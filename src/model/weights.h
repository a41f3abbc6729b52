// The weights of a model as views, with the shape beside every field. Who owns the bytes is another
// matter: a mapped checkpoint (load.h) or a training arena (parameters.h).
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "model/config.h"
#include "tensor/weight.h"

namespace cadre {

// silu(x w1^T) * (x w3^T), then w2.
struct ExpertWeights {
  Weight w1;  // [f, d] gate
  Weight w2;  // [d, f] down
  Weight w3;  // [f, d] up
};

struct LayerWeights {
  std::span<const float> attn_norm;    // [d]
  Weight wq;                           // [H * D, d]
  Weight wk;                           // [K * D, d]
  Weight wv;                           // [K * D, d]
  Weight wo;                           // [d, H * D]
  std::span<const float> ffn_norm;     // [d]
  Weight router;                       // [E, d]; no data in a dense model
  Weight router_noise;                 // [E, d] W_noise; no data but in training with noise
  std::vector<ExpertWeights> experts;  // [E]
};

struct ModelWeights {
  Weight embedding;                   // [vocab, d]
  std::vector<LayerWeights> layers;   // [layers]
  std::span<const float> final_norm;  // [d]
  Weight head;                        // [vocab, d]; the embedding itself when tied
  std::shared_ptr<const std::vector<LowRank>> low_ranks;  // what the matrices' low_rank point to
};

// All that Forward needs to know of a model.
struct Model {
  ModelConfig config;
  ModelWeights weights;
  std::vector<double> rope_frequencies;  // [D / 2]
};

}  // namespace cadre
