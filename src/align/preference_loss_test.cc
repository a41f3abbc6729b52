#include "align/preference_loss.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>
#include <vector>

namespace cadre {
namespace {

std::vector<PreferenceConfig> AllConfigs() {
  std::vector<PreferenceConfig> configs;
  for (const auto loss : {PreferenceLoss::kSigmoid, PreferenceLoss::kIpo, PreferenceLoss::kHinge,
                          PreferenceLoss::kRobust}) {
    for (const bool normalised : {false, true}) {
      for (const double smoothing : {0.0, 0.2}) {
        configs.push_back({.loss = loss,
                           .beta = 0.3,
                           .label_smoothing = smoothing,
                           .length_normalised = normalised});
      }
    }
  }
  return configs;
}

const PairLogProbs kPair = {.chosen = -12.5,
                            .rejected = -9.25,
                            .reference_chosen = -13.75,
                            .reference_rejected = -9.0,
                            .chosen_tokens = 5,
                            .rejected_tokens = 3};

TEST(ComputePairLoss, HasTheSlopesOfItsValue) {
  constexpr double kStep = 1e-5;
  for (const auto& config : AllConfigs()) {
    const auto slope = [&](double PairLogProbs::*field) {
      PairLogProbs up = kPair, down = kPair;
      up.*field += kStep;
      down.*field -= kStep;
      return (ComputePairLoss(up, config).value - ComputePairLoss(down, config).value) /
             (2 * kStep);
    };
    const PairLoss loss = ComputePairLoss(kPair, config);
    EXPECT_NEAR(loss.d_chosen, slope(&PairLogProbs::chosen), 1e-8);
    EXPECT_NEAR(loss.d_rejected, slope(&PairLogProbs::rejected), 1e-8);
  }
}

TEST(ComputePairLoss, IsLog2WhereThePolicyIsTheReference) {
  PairLogProbs pair = kPair;
  pair.reference_chosen = pair.chosen;
  pair.reference_rejected = pair.rejected;
  const PairLoss loss = ComputePairLoss(pair, {.beta = 0.1});
  EXPECT_DOUBLE_EQ(loss.value, std::numbers::ln2);
  EXPECT_DOUBLE_EQ(loss.d_chosen, -0.05);
  EXPECT_DOUBLE_EQ(loss.d_rejected, 0.05);
  EXPECT_EQ(ComputeRewards(pair, {.beta = 0.1}).chosen, 0);
}

TEST(ComputePairLoss, OfConservativeDpoIsLeastAtTheLogOddsOfTheLabels) {
  const PreferenceConfig config = {.beta = 0.5, .label_smoothing = 0.1};
  PairLogProbs pair;
  pair.chosen = std::log(0.9 / 0.1) / config.beta;  // delta
  EXPECT_NEAR(ComputePairLoss(pair, config).d_chosen, 0, 1e-12);
}

TEST(ComputePairLoss, StaysFiniteFarFromTheReference) {
  for (const auto& config : AllConfigs()) {
    for (const double delta : {-1e6, 1e6}) {
      PairLogProbs pair;
      pair.chosen = delta;
      const PairLoss loss = ComputePairLoss(pair, config);
      EXPECT_TRUE(std::isfinite(loss.value) && std::isfinite(loss.d_chosen));
    }
  }
}

TEST(ComputePairLoss, OfHingeEndsAtTheMargin) {
  PairLogProbs pair;
  pair.chosen = 10;
  const PreferenceConfig config = {.loss = PreferenceLoss::kHinge, .beta = 0.1};
  EXPECT_EQ(ComputePairLoss(pair, config).value, 0);
  EXPECT_EQ(ComputePairLoss(pair, config).d_chosen, 0);
  pair.chosen = 9;
  EXPECT_NEAR(ComputePairLoss(pair, config).value, 0.1, 1e-12);
}

TEST(ComputePairLoss, CountsNoReferenceWhereThereIsNone) {
  PairLogProbs other = kPair;
  other.reference_chosen = -100;
  const PreferenceConfig config = {.reference_free = true};
  EXPECT_EQ(ComputePairLoss(other, config).value, ComputePairLoss(kPair, config).value);
}

TEST(WilsonInterval, HasThePublishedValues) {
  // Brown, Cai and DasGupta, Statistical Science 16 (2001): the interval of 10 in 20.
  EXPECT_NEAR(WilsonInterval(10, 20).low, 0.2993, 1e-4);
  EXPECT_NEAR(WilsonInterval(10, 20).high, 0.7007, 1e-4);
  EXPECT_EQ(WilsonInterval(0, 10).low, 0);
  EXPECT_NEAR(WilsonInterval(0, 10).high, 0.2775, 1e-4);
  EXPECT_NEAR(WilsonInterval(10, 10).high, 1, 1e-12);
  EXPECT_EQ(WilsonInterval(0, 0).high, 1);
}

}  // namespace
}  // namespace cadre
