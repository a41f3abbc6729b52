#include "model/router_noise.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace cadre {
namespace {

std::vector<float> Jittered(const std::vector<float>& x, int64_t rows, float epsilon, uint64_t seed,
                            uint64_t stream, int num_threads) {
  ThreadPool threads(num_threads);
  std::vector<float> out(x.size());
  const auto cols = static_cast<int64_t>(x.size()) / rows;
  Jitter({x.data(), rows, cols}, epsilon, seed, stream, threads, {out.data(), rows, cols});
  return out;
}

TEST(Jitter, StaysWithinItsBoundsAndKeepsTheMean) {
  const std::vector<float> ones(70 * 101, 1.0f);
  const auto out = Jittered(ones, 70, 0.1f, 3, 5, 1);
  double sum = 0, squares = 0;
  for (const float value : out) {
    EXPECT_GE(value, 0.9f);
    EXPECT_LE(value, 1.1f);
    sum += static_cast<double>(value) - 1;
    squares += (static_cast<double>(value) - 1) * (static_cast<double>(value) - 1);
  }
  const auto n = static_cast<double>(out.size());
  EXPECT_NEAR(sum / n, 0, 5 * 0.0577 / std::sqrt(n));  // a uniform's deviation: 0.1 / sqrt(3)
  EXPECT_NEAR(squares / n, 0.01 / 3, 2e-4);
}

TEST(Jitter, IsAFunctionOfSeedStreamAndElementAlone) {
  const std::vector<float> x(7 * 13, 2.0f);
  const auto one = Jittered(x, 7, 0.5f, 3, 5, 1);
  EXPECT_EQ(Jittered(x, 7, 0.5f, 3, 5, 3), one);
  EXPECT_NE(Jittered(x, 7, 0.5f, 4, 5, 1), one);
  EXPECT_NE(Jittered(x, 7, 0.5f, 3, 6, 1), one);
  // The rows before are not needed to draw a row: a step of fewer tokens draws the same for those.
  const auto fewer = Jittered(std::vector<float>(3 * 13, 2.0f), 3, 0.5f, 3, 5, 1);
  EXPECT_EQ(std::vector<float>(one.begin(), one.begin() + 39), fewer);
}

TEST(Jitter, MayWriteWhereItReads) {
  std::vector<float> x = {1, 2, 3, 4, 5, 6};
  const auto expected = Jittered(x, 2, 0.3f, 9, 1, 1);
  ThreadPool threads(1);
  Jitter({x.data(), 2, 3}, 0.3f, 9, 1, threads, {x.data(), 2, 3});
  EXPECT_EQ(x, expected);
}

TEST(NoiseDeviation, IsASoftplusAboveItsFloor) {
  EXPECT_NEAR(NoiseDeviation(0, 0.01f), std::log(2.0) + 0.01, 1e-8);
  EXPECT_NEAR(NoiseDeviation(-200, 0.01f), 0.01, 1e-8);
  EXPECT_NEAR(NoiseDeviation(200, 0.01f), 200.01, 1e-6);
  EXPECT_NEAR(NoiseDeviation(1, 0), std::log1p(std::exp(1.0)), 1e-12);
}

TEST(AddRouterNoise, AddsNormalDrawsOfTheDeviation) {
  constexpr int64_t kRows = 500, kExperts = 8;
  const std::vector<float> raw(kRows * kExperts, 1.0f);
  std::vector<float> logits(raw.size(), 5.0f), draws(raw.size());
  AddRouterNoise({raw.data(), kRows, kExperts}, 0.01f, 7, 2, {draws.data(), kRows, kExperts},
                 {logits.data(), kRows, kExperts});
  double sum = 0, squares = 0;
  for (size_t i = 0; i < draws.size(); ++i) {
    const double draw = draws[i];
    sum += draw;
    squares += draw * draw;
    EXPECT_NEAR(logits[i], 5 + draw * NoiseDeviation(1, 0.01f), 1e-5);
  }
  EXPECT_NEAR(sum / 4000, 0, 5 / std::sqrt(4000.0));
  EXPECT_NEAR(squares / 4000, 1, 5 * std::sqrt(2 / 4000.0));
  std::vector<float> again(raw.size(), 5.0f), others(raw.size(), 5.0f);
  AddRouterNoise({raw.data(), kRows, kExperts}, 0.01f, 7, 2, {draws.data(), kRows, kExperts},
                 {again.data(), kRows, kExperts});
  EXPECT_EQ(again, logits);
  AddRouterNoise({raw.data(), kRows, kExperts}, 0.01f, 7, 3, {draws.data(), kRows, kExperts},
                 {others.data(), kRows, kExperts});
  EXPECT_NE(others, logits);
}

TEST(DrawLots, AreUniformAndAFunctionOfSeedStreamAndToken) {
  std::vector<float> lots(4000), fewer(7), others(7);
  DrawLots(3, 5, lots);
  DrawLots(3, 5, fewer);
  EXPECT_EQ(fewer, std::vector<float>(lots.begin(), lots.begin() + 7));
  for (const auto& [seed, stream] : {std::pair{4, 5}, std::pair{3, 6}}) {
    DrawLots(static_cast<uint64_t>(seed), static_cast<uint64_t>(stream), others);
    EXPECT_NE(others, fewer);
  }
  double sum = 0;
  for (const float lot : lots) {
    EXPECT_GE(lot, 0);
    EXPECT_LT(lot, 1);
    sum += static_cast<double>(lot);
  }
  EXPECT_NEAR(sum / 4000, 0.5, 5 * 0.2887 / std::sqrt(4000.0));  // deviation: 1 / sqrt(12)
}

TEST(SecondWins, WithAChanceOfTwiceItsShare) {
  std::vector<float> lots(4000);
  DrawLots(8, 1, lots);
  // Gates that sum to one, and shares of a softmax over more.
  for (const auto& gates : {std::vector<float>{.85f, .15f}, std::vector<float>{.17f, .03f}}) {
    const auto wins =
        std::count_if(lots.begin(), lots.end(), [&](float lot) { return SecondWins(gates, lot); });
    EXPECT_NEAR(static_cast<double>(wins) / 4000, 0.3, 5 * 0.4583 / std::sqrt(4000.0));
  }
  EXPECT_TRUE(SecondWins(std::vector<float>{.5f, .5f}, 0x1.fffffep-1f));
  EXPECT_FALSE(SecondWins(std::vector<float>{1, 0}, 0));
}

}  // namespace
}  // namespace cadre
