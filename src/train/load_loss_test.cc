#include "train/load_loss.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "model/router_noise.h"
#include "model/testing.h"

namespace cadre {
namespace {

constexpr int64_t kTokens = 4;

TEST(SquaredVariation, IsZeroWhenEvenAndKnowsWhenOneHasAll) {
  std::vector<double> gradient(4);
  EXPECT_EQ(SquaredVariation(std::vector<double>{3, 3, 3, 3}, gradient), 0);
  EXPECT_EQ(gradient, std::vector<double>(4, 0));
  EXPECT_NEAR(SquaredVariation(std::vector<double>{8, 0, 0, 0}, gradient), 3, 1e-9);  // n - 1
  std::vector<double> single(1);
  EXPECT_EQ(SquaredVariation(std::vector<double>{5}, single), 0);
  EXPECT_EQ(single[0], 0);
  EXPECT_EQ(SquaredVariation(std::vector<double>{0, 0, 0, 0}, gradient), 0);
}

TEST(SquaredVariation, HasTheSlopeItGives) {
  std::vector<double> values = {1, 4, 2.5, 0.5}, gradient(4), unused(4);
  SquaredVariation(values, gradient);
  for (size_t i = 0; i < 4; ++i) {
    const double kept = values[i];
    values[i] = kept + 1e-6;
    const double up = SquaredVariation(values, unused);
    values[i] = kept - 1e-6;
    const double down = SquaredVariation(values, unused);
    values[i] = kept;
    EXPECT_NEAR(gradient[i], (up - down) / 2e-6, 1e-8) << i;
  }
}

// A step of a noisy router, from what it is made of.
class SmoothLoad : public ::testing::Test {
 protected:
  SmoothLoad() {
    config_ = model_testing::TinyConfig();
    config_.router.noise = true;
    Random random(12);
    const auto draw = [&](std::vector<float>& values) {
      for (int64_t i = 0; i < config_.num_layers * kTokens * 4; ++i)
        values.push_back(static_cast<float>(random.NextNormal()));
    };
    draw(clean_);
    draw(raw_);
    draw(noise_);
  }

  RouterLosses Compute(Activations& activations) const {
    activations.SetTokens(kTokens);
    for (int64_t l = 0; l < config_.num_layers; ++l) {
      LayerActivations& a = activations.layer(l);
      for (int64_t i = 0; i < kTokens * 4; ++i) {
        const auto at = static_cast<size_t>(l * kTokens * 4 + i);
        a.noise_raw.data[i] = raw_[at];
        a.noise.data[i] = noise_[at];
        a.router_logits.data[i] = static_cast<float>(
            static_cast<double>(clean_[at]) +
            static_cast<double>(noise_[at]) * NoiseDeviation(raw_[at], config_.router.noise_floor));
      }
      ChooseExperts(a.router_logits, config_.router, {}, a.routing);
      PlanDispatch(a.routing, config_.router, a.plan);
    }
    return ComputeRouterLosses(activations, config_, {.load_coefficient = 0.7});
  }

  // The slope in each of `values`, which is one of the members.
  std::vector<double> Slopes(std::vector<float>& values) const {
    std::vector<double> slopes;
    Activations activations(config_, Activations::Keep::kEveryLayer);
    for (float& x : values) {
      const float kept = x;
      x = kept + 4e-3f;
      const double up = Compute(activations).total, width_up = x;
      x = kept - 4e-3f;
      const double down = Compute(activations).total, width_down = x;
      x = kept;
      slopes.push_back((up - down) / (width_up - width_down));
    }
    return slopes;
  }

  ModelConfig config_;
  std::vector<float> clean_, raw_, noise_;
};

TEST_F(SmoothLoad, SumsToAboutTheChoicesAndIsTheCountWhenAllAreChosen) {
  Activations activations(config_, Activations::Keep::kEveryLayer);
  Compute(activations);
  std::vector<double> load(4, 0);
  AddSmoothLoad(activations.layer(0), 0.01f, {}, load);
  for (const double value : load) {
    EXPECT_GT(value, 0);
    EXPECT_LT(value, kTokens);
  }
  config_.router.top_k = 4;
  Activations every(config_, Activations::Keep::kEveryLayer);
  EXPECT_EQ(Compute(every).load, 0);
  std::vector<double> counts(4, 0);
  AddSmoothLoad(every.layer(0), 0.01f, {}, counts);
  EXPECT_EQ(counts, std::vector<double>(4, kTokens));
}

TEST_F(SmoothLoad, IsTheChanceOfBeingChosenIfOnesOwnNoiseWereDrawnAgain) {
  Activations activations(config_, Activations::Keep::kEveryLayer);
  Compute(activations);
  const LayerActivations& a = activations.layer(0);
  std::vector<double> expected(4, 0), load(4, 0);
  AddSmoothLoad(a, config_.router.noise_floor, {}, load);
  Random random(77);
  constexpr int kDraws = 20000;
  for (int64_t t = 0; t < kTokens; ++t) {
    for (size_t e = 0; e < 4; ++e) {
      const auto at = static_cast<size_t>(t) * 4 + e;
      for (int i = 0; i < kDraws; ++i) {
        const double drawn =
            static_cast<double>(clean_[at]) +
            random.NextNormal() * NoiseDeviation(raw_[at], config_.router.noise_floor);
        int better = 0;
        for (size_t other = 0; other < 4; ++other)
          better += other != e && static_cast<double>(a.router_logits.row(t)[other]) > drawn;
        expected[e] += static_cast<double>(better < 2) / kDraws;
      }
    }
  }
  // Five deviations of the estimate: each term's is at most 0.5 / sqrt(draws).
  for (size_t e = 0; e < 4; ++e)
    EXPECT_NEAR(load[e], expected[e], 5 * 0.5 * std::sqrt(kTokens / double{kDraws})) << e;
}

TEST_F(SmoothLoad, HasTheSlopesItGives) {
  Activations activations(config_, Activations::Keep::kEveryLayer);
  const RouterLosses losses = Compute(activations);
  EXPECT_GT(losses.load, 0);
  EXPECT_DOUBLE_EQ(losses.total, 0.7 * losses.load);
  const auto clean_slopes = Slopes(clean_), raw_slopes = Slopes(raw_);
  for (int64_t l = 0; l < config_.num_layers; ++l) {
    std::vector<float> noisy(kTokens * 4, 0), clean(kTokens * 4, 0), deviation(kTokens * 4, 0);
    AddLoadGradient(losses, l, activations.layer(l), config_.router.noise_floor,
                    {noisy.data(), kTokens, 4}, {clean.data(), kTokens, 4},
                    {deviation.data(), kTokens, 4});
    for (size_t i = 0; i < kTokens * 4; ++i) {
      const size_t at = static_cast<size_t>(l) * kTokens * 4 + i;
      EXPECT_NEAR(noisy[i] + clean[i], clean_slopes[at], 1e-4) << l << " " << i;
      const double d_raw = (static_cast<double>(deviation[i]) +
                            static_cast<double>(noisy[i]) * static_cast<double>(noise_[at])) /
                           (1 + std::exp(-static_cast<double>(raw_[at])));
      EXPECT_NEAR(d_raw, raw_slopes[at], 1e-4) << l << " " << i;
    }
  }
}

}  // namespace
}  // namespace cadre
