#include "model/synthetic.h"

#include <sys/mman.h>

#include <algorithm>

#include "base/error.h"
#include "base/progress.h"
#include "base/random.h"
#include "model/pack.h"
#include "tensor/quant.h"

namespace cadre {
namespace {

constexpr int64_t kPatternValues = int64_t{1} << 18;
constexpr double kWeightDeviation = 0.02;

int64_t MatrixBytes(const ModelConfig& c, DType type) {
  const auto bytes = [&](int64_t rows, int64_t cols) {
    return (rows * RowBytes(type, cols) + 63) / 64 * 64;
  };
  const int64_t attention = 2 * bytes(c.q_dim(), c.dim) + 2 * bytes(c.kv_dim(), c.dim);
  const int64_t experts =
      c.router.num_experts * 3 * std::max(bytes(c.hidden_dim, c.dim), bytes(c.dim, c.hidden_dim));
  return 2 * bytes(c.vocab_size, c.dim) + c.num_layers * (attention + experts);
}

}  // namespace

SyntheticModel::SyntheticModel(const ModelConfig& config, DType type, Device& device)
    : stored_(static_cast<size_t>(MatrixBytes(config, type))) {
  Random random(1);
  std::vector<float> values(kPatternValues);
  for (float& value : values) value = static_cast<float>(kWeightDeviation * random.NextNormal());
  pattern_.Resize(RowBytes(type, kPatternValues));
  EncodeRow(type, values, pattern_.data());

  const ModelConfig& c = config;
  model_.config = config;
  model_.rope_frequencies = RopeFrequencies(config);
  ModelWeights& w = model_.weights;
  w.embedding = Matrix(type, c.vocab_size, c.dim);
  for (int64_t l = 0; l < c.num_layers; ++l) {
    LayerWeights layer;
    layer.attn_norm = Norm();
    layer.wq = Matrix(type, c.q_dim(), c.dim);
    layer.wk = Matrix(type, c.kv_dim(), c.dim);
    layer.wv = Matrix(type, c.kv_dim(), c.dim);
    layer.wo = Matrix(type, c.dim, c.q_dim());
    layer.ffn_norm = Norm();
    if (!c.router.dense()) {
      auto& router = floats_.emplace_back(c.router.num_experts * c.dim);
      for (float& value : router.span())
        value = static_cast<float>(kWeightDeviation * random.NextNormal());
      layer.router = {reinterpret_cast<const std::byte*>(router.data()), DType::kF32,
                      c.router.num_experts, c.dim};
    }
    for (int64_t e = 0; e < c.router.num_experts; ++e) {
      ExpertWeights expert;
      expert.w1 = Matrix(type, c.hidden_dim, c.dim);
      expert.w2 = Matrix(type, c.dim, c.hidden_dim);
      expert.w3 = Matrix(type, c.hidden_dim, c.dim);
      layer.experts.push_back(expert);
    }
    w.layers.push_back(std::move(layer));
  }
  w.final_norm = Norm();
  w.head = Matrix(type, c.vocab_size, c.dim);

  Fill(w.embedding);
  const bool packs = device.PackedBytes(w.head) > 0;
  if (!packs) {
    if (AvailableMemory() > 0 && stored_.size() > AvailableMemory() / 10 * 9) {
      throw Error("{} of weights do not fit into the {} of memory that are free",
                  ShortBytes(static_cast<double>(stored_.size())),
                  ShortBytes(static_cast<double>(AvailableMemory())));
    }
    for (auto& layer : w.layers) {
      for (const Weight* m : {&layer.wq, &layer.wk, &layer.wv, &layer.wo}) Fill(*m);
      for (auto& expert : layer.experts)
        for (const Weight* m : {&expert.w1, &expert.w2, &expert.w3}) Fill(*m);
    }
    Fill(w.head);
    return;
  }
  // Each is filled, packed and forgotten.
  auto packed = PackMatrices(
      model_, device,
      {.before = [this](const Weight& m) { Fill(m); },
       .after =
           [](const Weight& m) {
             const auto begin = (reinterpret_cast<uintptr_t>(m.data) + 4095) / 4096 * 4096;
             const auto end = reinterpret_cast<uintptr_t>(m.data + m.bytes()) / 4096 * 4096;
             if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
           }});
  if (!packed) {
    throw Error("{} of weights do not fit into the {} of memory that are free",
                ShortBytes(static_cast<double>(stored_.size())),
                ShortBytes(static_cast<double>(AvailableMemory())));
  }
  packed_ = std::move(*packed);
}

Weight SyntheticModel::Matrix(DType type, int64_t rows, int64_t cols) {
  const Weight w = {stored_.data() + used_, type, rows, cols};
  used_ += static_cast<size_t>((w.bytes() + 63) / 64 * 64);
  CADRE_CHECK(used_ <= stored_.size());
  return w;
}

std::span<const float> SyntheticModel::Norm() {
  auto& norm = floats_.emplace_back(model_.config.dim);
  std::fill_n(norm.data(), norm.size(), 1.0f);
  return norm.span();
}

// Repeats the pattern; its blocks are whole ones, wherever a row begins.
void SyntheticModel::Fill(const Weight& w) {
  auto* to = const_cast<std::byte*>(w.data);  // our own memory
  for (int64_t left = w.bytes(); left > 0;) {
    const int64_t part = std::min(left, pattern_.size());
    std::copy_n(pattern_.data(), part, to);
    to += part;
    left -= part;
  }
}

}  // namespace cadre
