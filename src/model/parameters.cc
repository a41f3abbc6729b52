#include "model/parameters.h"

#include <fmt/format.h>

#include <cmath>

#include "base/random.h"
#include "model/rope_rows.h"
#include "model/tensor_names.h"
#include "tensor/quant.h"

namespace cadre {
namespace {

// In no file of a model, so in no layout's names.
std::string RouterNoiseName(int64_t layer) {
  return fmt::format("model.layers.{}.block_sparse_moe.gate_noise.weight", layer);
}

}  // namespace

ParameterLayout::ParameterLayout(const ModelConfig& config) : config_(config) {
  config_.rope_layout = RopeLayout::kHalfSplit;
  const auto& c = config_;
  const TensorNames names(TensorLayout::kHuggingFace, c.router.dense());
  Add(names.Embedding(), c.vocab_size, c.dim);
  for (int64_t l = 0; l < c.num_layers; ++l) {
    Add(names.AttnNorm(l), 1, c.dim, true);
    Add(names.Attention(l, 'q'), c.q_dim(), c.dim);
    Add(names.Attention(l, 'k'), c.kv_dim(), c.dim);
    Add(names.Attention(l, 'v'), c.kv_dim(), c.dim);
    Add(names.Attention(l, 'o'), c.dim, c.q_dim());
    Add(names.FfnNorm(l), 1, c.dim, true);
    if (!c.router.dense()) Add(names.Router(l), c.router.num_experts, c.dim);
    if (c.router.noise) Add(RouterNoiseName(l), c.router.num_experts, c.dim).is_router_noise = true;
    for (int64_t e = 0; e < c.router.num_experts; ++e) {
      Add(names.Expert(l, e, 1), c.hidden_dim, c.dim);
      Add(names.Expert(l, e, 2), c.dim, c.hidden_dim);
      Add(names.Expert(l, e, 3), c.hidden_dim, c.dim);
    }
  }
  Add(names.FinalNorm(), 1, c.dim, true);
  if (!c.tie_embeddings) Add(names.Head(), c.vocab_size, c.dim);
}

Parameter& ParameterLayout::Add(std::string name, int64_t rows, int64_t cols, bool is_norm) {
  const int64_t offset = size_;
  size_ += (rows * cols + 15) / 16 * 16;
  return parameters_.emplace_back(Parameter{
      .name = std::move(name), .rows = rows, .cols = cols, .offset = offset, .is_norm = is_norm});
}

ParameterLayout::ParameterLayout(const Model& base, std::vector<Adapter> adapters)
    : config_(base.config),
      base_(std::make_shared<const Model>(base)),
      adapters_(std::move(adapters)) {
  CADRE_CHECK(!adapters_.empty());
  for (const auto& adapter : adapters_) {
    const Weight& matrix = MatrixOf(base.weights, adapter);
    const std::string module = ModuleOf(adapter, config_.router.dense());
    Add(module + ".lora_A.weight", adapter.rank, matrix.cols);
    Add(module + ".lora_B.weight", matrix.rows, adapter.rank);
  }
}

LowRank ParameterLayout::LowRankOf(size_t adapter, float* arena) const {
  const auto weight = [&](const Parameter& p) {
    return Weight{.data = reinterpret_cast<const std::byte*>(arena + p.offset),
                  .rows = p.rows,
                  .cols = p.cols};
  };
  return {weight(parameters_[2 * adapter]), weight(parameters_[2 * adapter + 1]),
          adapters_[adapter].scale};
}

Model ParameterLayout::BindAdapters(float* arena) const {
  auto low_ranks = std::make_shared<std::vector<LowRank>>();
  for (size_t i = 0; i < adapters_.size(); ++i) low_ranks->push_back(LowRankOf(i, arena));
  Model model = *base_;
  for (size_t i = 0; i < adapters_.size(); ++i)
    MatrixOf(model.weights, adapters_[i]).low_rank = &(*low_ranks)[i];
  model.weights.low_ranks = std::move(low_ranks);
  return model;
}

Model ParameterLayout::Bind(float* arena) const {
  return adapters_.empty() ? BindWeights(arena) : BindAdapters(arena);
}

Model ParameterLayout::BindWeights(float* arena) const {
  const auto& c = config_;
  Model model{c, {}, RopeFrequencies(c)};
  size_t next = 0;
  const auto matrix = [&] {
    const auto& p = parameters_[next++];
    return Weight{reinterpret_cast<const std::byte*>(arena + p.offset), DType::kF32, p.rows,
                  p.cols};
  };
  const auto norm = [&] {
    const auto& p = parameters_[next++];
    return std::span<const float>(arena + p.offset, static_cast<size_t>(p.cols));
  };
  model.weights.embedding = matrix();
  for (int64_t l = 0; l < c.num_layers; ++l) {
    LayerWeights w;
    w.attn_norm = norm();
    w.wq = matrix();
    w.wk = matrix();
    w.wv = matrix();
    w.wo = matrix();
    w.ffn_norm = norm();
    if (!c.router.dense()) w.router = matrix();
    if (c.router.noise) w.router_noise = matrix();
    for (int64_t e = 0; e < c.router.num_experts; ++e) {
      ExpertWeights expert;
      expert.w1 = matrix();
      expert.w2 = matrix();
      expert.w3 = matrix();
      w.experts.push_back(expert);
    }
    model.weights.layers.push_back(std::move(w));
  }
  model.weights.final_norm = norm();
  model.weights.head = c.tie_embeddings ? model.weights.embedding : matrix();
  return model;
}

void InitialiseAdapters(const ParameterLayout& layout, uint64_t seed, float* arena) {
  for (size_t i = 0; i < layout.adapters().size(); ++i) {
    const LowRank low_rank = layout.LowRankOf(i, arena);
    const auto values = [](const Weight& w) {
      auto* data = reinterpret_cast<float*>(const_cast<std::byte*>(w.data));
      return std::span(data, static_cast<size_t>(w.rows * w.cols));
    };
    const double bound = 1 / std::sqrt(static_cast<double>(low_rank.down.cols));
    Random random(seed, i + 1);
    for (float& value : values(low_rank.down))
      value = static_cast<float>((2 * random.NextDouble() - 1) * bound);
    for (float& value : values(low_rank.up)) value = 0;
  }
}

void CopyToArena(const Model& model, float* arena) {
  CopyToArena(model, ParameterLayout(model.config), arena);
}

void CopyToArena(const Model& model, const ParameterLayout& layout, float* arena) {
  const Model target = layout.Bind(arena);
  const auto copy = [&](const Weight& from, const Weight& to) {
    CADRE_CHECK(from.rows == to.rows && from.cols == to.cols);
    for (int64_t r = 0; r < from.rows; ++r) {
      auto* row = reinterpret_cast<float*>(const_cast<std::byte*>(to.row(r)));
      DecodeRow(from.type, from.row(r), {row, static_cast<size_t>(from.cols)});
    }
  };
  // Rows of q and k that rotate together lie differently in the two RoPE layouts.
  const auto copy_rotated = [&](const Weight& from, const Weight& to) {
    if (model.config.rope_layout == RopeLayout::kHalfSplit) return copy(from, to);
    for (int64_t r = 0; r < to.rows; ++r) {
      auto* row = reinterpret_cast<float*>(const_cast<std::byte*>(to.row(r)));
      DecodeRow(from.type, from.row(InterleavedRow(r, model.config.head_dim)),
                {row, static_cast<size_t>(from.cols)});
    }
  };
  const auto copy_norm = [](std::span<const float> from, std::span<const float> to) {
    std::copy(from.begin(), from.end(), const_cast<float*>(to.data()));
  };
  copy(model.weights.embedding, target.weights.embedding);
  for (size_t l = 0; l < model.weights.layers.size(); ++l) {
    const auto& from = model.weights.layers[l];
    const auto& to = target.weights.layers[l];
    copy_norm(from.attn_norm, to.attn_norm);
    copy_rotated(from.wq, to.wq);
    copy_rotated(from.wk, to.wk);
    copy(from.wv, to.wv);
    copy(from.wo, to.wo);
    copy_norm(from.ffn_norm, to.ffn_norm);
    if (!model.config.router.dense()) copy(from.router, to.router);
    if (model.config.router.noise) copy(from.router_noise, to.router_noise);
    for (size_t e = 0; e < from.experts.size(); ++e) {
      copy(from.experts[e].w1, to.experts[e].w1);
      copy(from.experts[e].w2, to.experts[e].w2);
      copy(from.experts[e].w3, to.experts[e].w3);
    }
  }
  copy_norm(model.weights.final_norm, target.weights.final_norm);
  if (!model.config.tie_embeddings) copy(model.weights.head, target.weights.head);
}

}  // namespace cadre
