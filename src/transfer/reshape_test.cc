#include "transfer/reshape.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "base/testing.h"
#include "model/load.h"
#include "model/testing.h"

namespace cadre {
namespace {

using model_testing::RandomArena;
using model_testing::ReferenceLogits;
using model_testing::TinyConfig;

const std::vector<int32_t> kIds = {1, 7, 30, 2, 19, 19, 5, 33};

struct Built {
  explicit Built(const ModelConfig& config)
      : layout(config), arena(layout.size()), bound(layout.Bind(arena.data())) {}
  const Model& model() const { return bound; }
  ParameterLayout layout;
  Buffer<float> arena;
  Model bound;
};

Built WithRandomWeights(const ModelConfig& config, uint64_t seed = 5) {
  Built built(config);
  const Buffer<float> values = RandomArena(built.layout, seed);
  std::copy(values.span().begin(), values.span().end(), built.arena.data());
  return built;
}

ModelConfig TinyDense() { return DenseConfig(TinyConfig(), 24); }

std::vector<double> EqualShares(const ModelConfig& config) {
  const auto n = static_cast<size_t>(config.num_layers * config.router.num_experts);
  return std::vector<double>(n, 1.0 / static_cast<double>(config.router.num_experts));
}

Built Upcycled(const Built& dense, const RouterConfig& router,
               const ExpertVariation& variation = {}) {
  ThreadPool threads(2);
  Built sparse(SparseConfig(dense.layout.config(), router));
  CopyAllButExperts(dense.model(), sparse.layout, sparse.arena.span());
  SpreadFfn(dense.model(), variation, 3, sparse.layout, sparse.arena.span(), threads);
  return sparse;
}

Built Merged(const Model& teacher, std::span<const double> shares) {
  ThreadPool threads(2);
  Built dense(DenseConfig(teacher.config, teacher.config.hidden_dim));
  CopyAllButExperts(teacher, dense.layout, dense.arena.span());
  MergeExperts(teacher, shares, dense.layout, dense.arena.span(), threads);
  return dense;
}

double LargestDifference(const std::vector<float>& a, const std::vector<float>& b) {
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i)
    largest = std::max(largest, std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
  return largest;
}

std::span<const float> Values(const Weight& w) {
  return {reinterpret_cast<const float*>(w.data), static_cast<size_t>(w.rows * w.cols)};
}

TEST(Upcycling, BeginsAsExactlyTheDenseModel) {
  const Built dense = WithRandomWeights(TinyDense());
  const auto want = ReferenceLogits(dense.model(), kIds);
  for (const int64_t k : {2, 3, 8}) {
    for (const double sigma : {0.02, 1.0}) {
      const Built sparse = Upcycled(dense, {.num_experts = 8, .top_k = k}, {.router_sigma = sigma});
      EXPECT_LT(LargestDifference(ReferenceLogits(sparse.model(), kIds), want), 2e-5)
          << k << " of 8, " << sigma;
    }
  }
}

TEST(Upcycling, WithoutRenormalisedGatesBeginsNearTheDenseModel) {
  const Built dense = WithRandomWeights(TinyDense());
  const auto want = ReferenceLogits(dense.model(), kIds);
  const RouterConfig router{.num_experts = 4, .top_k = 1, .softmax = RouterSoftmax::kAll};
  const Built near = Upcycled(dense, router, {.router_sigma = 1e-4});
  EXPECT_EQ(near.layout.config().architecture, kUnnormalisedArchitecture);
  EXPECT_LT(LargestDifference(ReferenceLogits(near.model(), kIds), want), 0.02);
}

TEST(Upcycling, DrawsRoutersOfTheDeviationAskedFor) {
  const Built sparse = Upcycled(WithRandomWeights(TinyDense()), {.num_experts = 64, .top_k = 2},
                                {.router_sigma = 0.5});
  double squares = 0, count = 0;
  for (const auto& layer : sparse.model().weights.layers) {
    for (const float value : Values(layer.router)) {
      squares += static_cast<double>(value) * static_cast<double>(value);
      ++count;
    }
  }
  EXPECT_NEAR(std::sqrt(squares / count), 0.5, 0.03);
}

TEST(Upcycling, NoiseIsOfItsSizeAndOnItsShareOfTheEntries) {
  const Built dense = WithRandomWeights(TinyDense());
  const Built sparse =
      Upcycled(dense, {.num_experts = 8, .top_k = 2}, {.noise = 0.5, .noise_share = 0.25});
  const auto of = Values(dense.model().weights.layers[1].experts[0].w1);
  double squares = 0, changed = 0, all = 0, variance = 0;
  for (const auto& expert : sparse.model().weights.layers[1].experts) {
    const auto values = Values(expert.w1);
    for (size_t i = 0; i < of.size(); ++i) {
      const double d = static_cast<double>(values[i]) - static_cast<double>(of[i]);
      squares += d * d;
      changed += d != 0;
      variance += static_cast<double>(of[i]) * static_cast<double>(of[i]);
      ++all;
    }
  }
  EXPECT_NEAR(changed / all, 0.25, 0.03);
  EXPECT_NEAR(std::sqrt(squares / changed), 0.5 * std::sqrt(variance / all), 0.02);
}

TEST(Upcycling, RedrawsWholeUnitsAndLeavesTheOthers) {
  const Built dense = WithRandomWeights(TinyDense());
  const Built sparse = Upcycled(dense, {.num_experts = 4, .top_k = 2}, {.redrawn = 0.5});
  const ExpertWeights& of = dense.model().weights.layers[0].experts[0];
  std::set<std::vector<int64_t>> choices;
  for (const auto& expert : sparse.model().weights.layers[0].experts) {
    std::vector<int64_t> redrawn;
    for (int64_t unit = 0; unit < of.w1.rows; ++unit) {
      int64_t changed = 0;
      for (int64_t c = 0; c < of.w1.cols; ++c) {
        const auto at = static_cast<size_t>(unit * of.w1.cols + c);
        const auto in_w2 = static_cast<size_t>(c * of.w2.cols + unit);
        changed += Values(expert.w1)[at] != Values(of.w1)[at];
        changed += Values(expert.w3)[at] != Values(of.w3)[at];
        changed += Values(expert.w2)[in_w2] != Values(of.w2)[in_w2];
      }
      EXPECT_TRUE(changed == 0 || changed == 3 * of.w1.cols) << unit;
      if (changed > 0) redrawn.push_back(unit);
    }
    EXPECT_EQ(std::ssize(redrawn), of.w1.rows / 2);
    choices.insert(redrawn);
  }
  EXPECT_EQ(choices.size(), 4u);
}

TEST(Upcycling, IsAFunctionOfTheSeed) {
  const Built dense = WithRandomWeights(TinyDense());
  const ExpertVariation variation{.noise = 0.1, .redrawn = 0.3};
  const Built once = Upcycled(dense, {.num_experts = 4, .top_k = 2}, variation);
  const Built again = Upcycled(dense, {.num_experts = 4, .top_k = 2}, variation);
  EXPECT_TRUE(model_testing::SameBits(once.arena, again.arena));
}

TEST(Merging, OfEqualExpertsIsTheTeacher) {
  const Built dense = WithRandomWeights(TinyDense());
  const Built teacher = Upcycled(dense, {.num_experts = 4, .top_k = 2});
  const Built student = Merged(teacher.model(), EqualShares(teacher.layout.config()));
  EXPECT_EQ(student.layout.config().architecture, "llama");
  const auto want = ReferenceLogits(teacher.model(), kIds);
  EXPECT_LT(LargestDifference(ReferenceLogits(student.model(), kIds), want), 2e-5);
}

TEST(Merging, WeighsExpertsByTheirShares) {
  const Built teacher = WithRandomWeights(TinyConfig());
  std::vector<double> shares = EqualShares(TinyConfig());
  const std::vector<double> last = {0.1, 0.2, 0.3, 0.4};
  std::copy(last.begin(), last.end(), shares.end() - 4);
  const Built student = Merged(teacher.model(), shares);
  const auto& experts = teacher.model().weights.layers[1].experts;
  const auto got = Values(student.model().weights.layers[1].experts[0].w2);
  for (size_t i = 0; i < got.size(); ++i) {
    double want = 0;
    for (size_t e = 0; e < 4; ++e) want += last[e] * static_cast<double>(Values(experts[e].w2)[i]);
    ASSERT_NEAR(got[i], want, 1e-6);
  }
}

TEST(Merging, ReadsAnyStoredTypeAndLayout) {
  ModelConfig config = TinyConfig();
  config.dim = 32;
  config.hidden_dim = 32;
  config.num_heads = 4;
  const Built teacher = WithRandomWeights(config);
  const base_testing::TempFolder folder;
  model_testing::SaveArenaAsGguf(config, teacher.arena, DType::kQ8_0, folder / "teacher.gguf");
  const auto loaded = LoadedModel::Load(folder / "teacher.gguf");
  ASSERT_EQ(loaded.model().config.rope_layout, RopeLayout::kInterleaved);
  const Built stored = Merged(loaded.model(), EqualShares(config));
  const Built exact = Merged(teacher.model(), EqualShares(config));
  // Eight bits of each block's largest value.
  for (int64_t i = 0; i < exact.arena.size(); ++i)
    ASSERT_NEAR(stored.arena[i], exact.arena[i], 0.01) << i;
}

}  // namespace
}  // namespace cadre
