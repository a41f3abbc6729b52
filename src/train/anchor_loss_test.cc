#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "model/testing.h"
#include "train/losses.h"

namespace cadre {
namespace {

// Two layers of three rows and four experts with random logits, and targets at random.
class AnchorLoss : public ::testing::Test {
 protected:
  AnchorLoss() {
    Random random(9);
    for (int i = 0; i < 24; ++i) logits_.push_back(static_cast<float>(random.NextNormal()));
    for (int row = 0; row < 6; ++row) {
      double weights[4], sum = 0;
      for (double& weight : weights) sum += weight = random.NextDouble();
      for (const double weight : weights) targets_.push_back(static_cast<float>(weight / sum));
    }
  }

  RouterLosses Losses(std::span<const uint8_t> mask = {}) {
    activations_.SetTokens(3);
    for (int64_t l = 0; l < 2; ++l) {
      LayerActivations& a = activations_.layer(l);
      std::copy_n(logits_.begin() + 12 * l, 12, a.router_logits.data);
      ChooseExperts(a.router_logits, config_.router, {}, a.routing);
      PlanDispatch(a.routing, config_.router, a.plan);
    }
    return ComputeRouterLosses(activations_, config_, {.anchor_coefficient = 0.5}, mask, targets_);
  }
  // KL(targets || softmax(logits)) of a row, in the order of the definition.
  double Divergence(size_t row) const {
    double sum = 0, divergence = 0;
    for (size_t e = 0; e < 4; ++e) sum += std::exp(static_cast<double>(logits_[4 * row + e]));
    for (size_t e = 0; e < 4; ++e) {
      const double q = std::exp(static_cast<double>(logits_[4 * row + e])) / sum;
      const double p = targets_[4 * row + e];
      if (p > 0) divergence += p * std::log(p / q);
    }
    return divergence;
  }

  const ModelConfig config_ = model_testing::TinyConfig();
  Activations activations_{config_, Activations::Keep::kEveryLayer};
  std::vector<float> logits_, targets_;
};

TEST_F(AnchorLoss, IsTheMeanDivergenceOverTokensAndLayers) {
  double mean = 0;
  for (size_t row = 0; row < 6; ++row) mean += Divergence(row) / 6;
  const RouterLosses losses = Losses();
  EXPECT_NEAR(losses.anchor, mean, 1e-12);
  EXPECT_NEAR(losses.total, 0.5 * mean, 1e-12);
}

TEST_F(AnchorLoss, LeavesMaskedRowsOut) {
  const std::vector<uint8_t> mask = {1, 0, 1};
  const RouterLosses losses = Losses(mask);
  EXPECT_NEAR(losses.anchor, (Divergence(0) + Divergence(2) + Divergence(3) + Divergence(5)) / 4,
              1e-12);
  std::vector<float> slopes(12, 0);
  AddAnchorGradient(losses, 1, activations_.layer(1).routing, {slopes.data(), 3, 4});
  for (size_t e = 4; e < 8; ++e) EXPECT_EQ(slopes[e], 0);
  EXPECT_NE(slopes[0], 0);
}

TEST_F(AnchorLoss, GradientIsItsSlope) {
  const RouterLosses at = Losses();
  std::vector<float> slopes(24, 0);
  for (int64_t l = 0; l < 2; ++l)
    AddAnchorGradient(at, l, activations_.layer(l).routing, {slopes.data() + 12 * l, 3, 4});
  for (size_t i = 0; i < logits_.size(); ++i) {
    constexpr float kH = 1e-2f;
    const float kept = logits_[i];
    logits_[i] = kept + kH;
    const double up = Losses().total, width_up = logits_[i];
    logits_[i] = kept - kH;
    const double down = Losses().total, width_down = logits_[i];
    logits_[i] = kept;
    // h^2 of a function whose third derivative is below 1/4; 6 rows.
    EXPECT_NEAR(slopes[i], (up - down) / (width_up - width_down), 1e-5) << i;
  }
}

TEST_F(AnchorLoss, IsFiniteWhereTheRouterHasGivenAnExpertUp) {
  logits_.assign(24, 0);
  logits_[1] = -2000;  // a probability that is 0 in a float
  targets_.assign(24, 0.25f);
  targets_[0] = 0;
  targets_[1] = 0.5f;
  const RouterLosses losses = Losses();
  EXPECT_TRUE(std::isfinite(losses.anchor));
  EXPECT_GT(losses.anchor, 100);
}

TEST_F(AnchorLoss, IsNoneAtItsTargets) {
  for (size_t row = 0; row < 6; ++row) {
    for (size_t e = 0; e < 4; ++e) logits_[4 * row + e] = std::log(targets_[4 * row + e]) + 3;
  }
  EXPECT_NEAR(Losses().anchor, 0, 1e-6);
}

}  // namespace
}  // namespace cadre
