// A seeded random Mixtral of any weight type, for tests that need no published weights.
#pragma once

#include "base/random.h"
#include "model/parameters.h"
#include "tensor/quant.h"

namespace cadre {

// A seeded random model whose matrices are stored as `type`.
class RandomModel {
 public:
  RandomModel(ModelConfig config, DType type)
      : layout_(config), arena_(layout_.size()), model_(layout_.Bind(arena_.data())) {
    Random random(7);
    for (const auto& p : layout_.parameters()) {
      for (int64_t i = 0; i < p.size(); ++i) {
        const double x =
            random.NextNormal() * (p.name.find("gate.weight") != std::string::npos ? 0.5 : 0.08);
        arena_[p.offset + i] = static_cast<float>(p.is_norm ? 1 + 0.1 * x : x);
      }
    }
    if (type == DType::kF32) return;
    Encode(model_.weights.embedding, type);
    Encode(model_.weights.head, type);
    for (auto& layer : model_.weights.layers) {
      for (Weight* w : {&layer.wq, &layer.wk, &layer.wv, &layer.wo}) Encode(*w, type);
      for (auto& expert : layer.experts) {
        for (Weight* w : {&expert.w1, &expert.w2, &expert.w3}) Encode(*w, type);
      }
    }
  }
  const Model& model() const { return model_; }

 private:
  void Encode(Weight& w, DType type) {
    const int64_t row_bytes = RowBytes(type, w.cols);
    encoded_.emplace_back(row_bytes * w.rows);
    for (int64_t r = 0; r < w.rows; ++r) {
      EncodeRow(type, {reinterpret_cast<const float*>(w.row(r)), static_cast<size_t>(w.cols)},
                encoded_.back().data() + r * row_bytes);
    }
    w.data = encoded_.back().data();
    w.type = type;
  }

  ParameterLayout layout_;
  Buffer<float> arena_;
  Model model_;
  std::vector<Buffer<std::byte>> encoded_;
};

inline ModelConfig SmallConfig() {
  ModelConfig config;
  config.dim = 256;  // as hidden_dim and the width of all heads: one block of the k-quants
  config.hidden_dim = 256;
  config.num_layers = 2;
  config.num_heads = 8;
  config.num_kv_heads = 2;
  config.head_dim = 32;
  config.vocab_size = 96;
  config.context_length = 1024;
  config.rope_theta = 1e4;
  config.router = {.num_experts = 4, .top_k = 2};
  return config;
}

}  // namespace cadre
