#include "transfer/reshape.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "base/random.h"
#include "tensor/quant.h"

namespace cadre {
namespace {

// Streams of the run's seed that nothing else draws from.
constexpr uint64_t kExpertStream = uint64_t{1} << 44;  // + layer << 20 + expert
constexpr uint64_t kRouterStream = uint64_t{1} << 45;  // + layer

// transformers' Llama knows no window.
const char* DenseArchitecture(const ModelConfig& config) {
  return config.sliding_window > 0 ? "mistral" : "llama";
}

// Weights of an arena, to be written.
std::span<float> Values(const Weight& w) {
  return {reinterpret_cast<float*>(const_cast<std::byte*>(w.data)),
          static_cast<size_t>(w.rows * w.cols)};
}

struct Spread {
  double mean = 0, deviation = 0;
};

// Of the values that `take` says.
template <typename Take>
Spread SpreadOf(std::span<const float> values, const Take& take) {
  double sum = 0, squares = 0, count = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    if (!take(i)) continue;
    const auto value = static_cast<double>(values[i]);
    sum += value;
    squares += value * value;
    ++count;
  }
  if (count == 0) return {};
  const double mean = sum / count;
  return {mean, std::sqrt(std::max(0.0, squares / count - mean * mean))};
}

void AddNoise(const ExpertVariation& variation, Random& random, std::span<float> values) {
  const double sigma = variation.noise * SpreadOf(values, [](size_t) { return true; }).deviation;
  for (float& value : values) {
    if (variation.noise_share < 1 && random.NextDouble() >= variation.noise_share) continue;
    value = static_cast<float>(static_cast<double>(value) + sigma * random.NextNormal());
  }
}

// `count` of n, chosen without repetition.
std::vector<uint8_t> ChooseUnits(int64_t n, int64_t count, Random& random) {
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  std::vector<uint8_t> chosen(order.size(), 0);
  for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
    std::swap(order[i], order[i + random.NextBelow(order.size() - i)]);
    chosen[static_cast<size_t>(order[i])] = 1;
  }
  return chosen;
}

// Hidden units are rows of w1 and w3 and columns of w2.
void RedrawUnits(const ExpertVariation& variation, Random& random, const ExpertWeights& expert) {
  const int64_t units = expert.w1.rows;
  const auto count =
      static_cast<int64_t>(std::llround(variation.redrawn * static_cast<double>(units)));
  const auto chosen = ChooseUnits(units, count, random);
  for (const Weight* w : {&expert.w1, &expert.w2, &expert.w3}) {
    const bool units_are_rows = w != &expert.w2;
    const auto cols = static_cast<size_t>(w->cols);
    const auto values = Values(*w);
    const auto take = [&](size_t i) { return chosen[units_are_rows ? i / cols : i % cols] != 0; };
    const Spread spread = SpreadOf(values, take);
    for (size_t i = 0; i < values.size(); ++i) {
      if (take(i))
        values[i] = static_cast<float>(spread.mean + spread.deviation * random.NextNormal());
    }
  }
}

void CopyMatrix(const Weight& from, const Weight& to, double scale) {
  CADRE_CHECK(from.rows == to.rows && from.cols == to.cols);
  const auto cols = static_cast<size_t>(to.cols);
  for (int64_t r = 0; r < to.rows; ++r) {
    const auto row = Values(to).subspan(static_cast<size_t>(r) * cols, cols);
    DecodeRow(from.type, from.row(r), row);
    if (scale == 1) continue;
    for (float& value : row) value = static_cast<float>(scale * static_cast<double>(value));
  }
}

// to = sum of the experts' matrices times their shares.
void MergeMatrix(const std::vector<const Weight*>& from, std::span<const double> shares,
                 const Weight& to) {
  const auto cols = static_cast<size_t>(to.cols);
  std::vector<float> row(cols);
  std::vector<double> sum(cols);
  for (int64_t r = 0; r < to.rows; ++r) {
    std::fill(sum.begin(), sum.end(), 0);
    for (size_t e = 0; e < from.size(); ++e) {
      CADRE_CHECK(from[e]->rows == to.rows && from[e]->cols == to.cols);
      DecodeRow(from[e]->type, from[e]->row(r), row);
      for (size_t c = 0; c < cols; ++c) sum[c] += shares[e] * static_cast<double>(row[c]);
    }
    const auto out = Values(to).subspan(static_cast<size_t>(r) * cols, cols);
    for (size_t c = 0; c < cols; ++c) out[c] = static_cast<float>(sum[c]);
  }
}

}  // namespace

ModelConfig DenseConfig(const ModelConfig& sparse, int64_t hidden_dim) {
  ModelConfig dense = sparse;
  dense.hidden_dim = hidden_dim;
  dense.router = {};
  dense.router_aux_loss_coef = 0;
  dense.architecture = DenseArchitecture(dense);
  return dense;
}

ModelConfig SparseConfig(const ModelConfig& dense, const RouterConfig& router) {
  CADRE_CHECK(dense.router.dense() && !router.dense());
  ModelConfig sparse = dense;
  sparse.router = router;
  sparse.architecture = router.unnormalised() ? kUnnormalisedArchitecture : "mixtral";
  return sparse;
}

void CopyAllButExperts(const Model& from, const ParameterLayout& layout, std::span<float> arena) {
  CADRE_CHECK(std::ssize(arena) == layout.size());
  Model shared = from;
  shared.config.router = {};  // its router stays where it is
  for (auto& layer : shared.weights.layers) layer.experts.clear();
  CopyToArena(shared, layout, arena.data());
}

void MergeExperts(const Model& from, std::span<const double> shares, const ParameterLayout& layout,
                  std::span<float> arena, ThreadPool& threads) {
  const auto num_experts = static_cast<size_t>(from.config.router.num_experts);
  CADRE_CHECK(shares.size() == from.weights.layers.size() * num_experts);
  const Model to = layout.Bind(arena.data());
  constexpr Weight ExpertWeights::*kMatrices[] = {&ExpertWeights::w1, &ExpertWeights::w2,
                                                  &ExpertWeights::w3};
  threads.ParallelFor(from.config.num_layers * std::ssize(kMatrices), [&](int64_t i, int) {
    const auto layer = static_cast<size_t>(i / std::ssize(kMatrices));
    const auto matrix = kMatrices[i % std::ssize(kMatrices)];
    std::vector<const Weight*> experts;
    for (const auto& expert : from.weights.layers[layer].experts)
      experts.push_back(&(expert.*matrix));
    MergeMatrix(experts, shares.subspan(layer * num_experts, num_experts),
                to.weights.layers[layer].experts[0].*matrix);
  });
}

void SpreadFfn(const Model& dense, const ExpertVariation& variation, uint64_t seed,
               const ParameterLayout& layout, std::span<float> arena, ThreadPool& threads) {
  const RouterConfig& router = layout.config().router;
  CADRE_CHECK(dense.config.router.dense() && !router.dense());
  const double scale = router.unnormalised() ? static_cast<double>(router.num_experts) /
                                                   static_cast<double>(router.top_k)
                                             : 1;
  const Model to = layout.Bind(arena.data());
  threads.ParallelFor(to.config.num_layers * router.num_experts, [&](int64_t i, int) {
    const auto layer = static_cast<size_t>(i / router.num_experts);
    const auto expert = static_cast<size_t>(i % router.num_experts);
    const ExpertWeights& ffn = dense.weights.layers[layer].experts[0];
    const ExpertWeights& copy = to.weights.layers[layer].experts[expert];
    CopyMatrix(ffn.w1, copy.w1, 1);
    CopyMatrix(ffn.w2, copy.w2, scale);
    CopyMatrix(ffn.w3, copy.w3, 1);
    Random random(seed, kExpertStream + (static_cast<uint64_t>(layer) << 20) + expert);
    if (variation.redrawn > 0) RedrawUnits(variation, random, copy);
    if (variation.noise > 0) {
      for (const Weight* w : {&copy.w1, &copy.w2, &copy.w3})
        AddNoise(variation, random, Values(*w));
    }
  });
  for (size_t l = 0; l < to.weights.layers.size(); ++l) {
    Random random(seed, kRouterStream + l);
    for (float& value : Values(to.weights.layers[l].router))
      value = static_cast<float>(variation.router_sigma * random.NextNormal());
  }
}

}  // namespace cadre
