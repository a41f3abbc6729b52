#include "engine/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "base/error.h"

namespace cadre {
namespace {

int32_t Once(const SamplerConfig& config, std::vector<float> logits, std::vector<int32_t> ids = {},
             size_t generated = 0, uint64_t counter = 0) {
  Sampler sampler(config);
  Random random(config.seed, 0, counter);
  return sampler.Sample(logits, {ids, generated}, random);
}

std::set<int32_t> Seen(const SamplerConfig& config, const std::vector<float>& logits) {
  std::set<int32_t> seen;
  for (uint64_t i = 0; i < 2000; ++i) seen.insert(Once(config, logits, {}, 0, i));
  return seen;
}

std::vector<float> Logs(const std::vector<double>& probabilities) {
  std::vector<float> logits;
  for (const double p : probabilities) logits.push_back(static_cast<float>(std::log(p)));
  return logits;
}

TEST(Sampler, TakesTheLikeliestAtTemperatureZeroAndTheLowerIdOfTwo) {
  EXPECT_EQ(Once({}, {0, 3, 1, 3}), 1);
  EXPECT_EQ(Once({}, {-5, -5}), 0);
}

TEST(Sampler, AddsTheBiasBeforeThePenalties) {
  EXPECT_EQ(Once({.logit_bias = {{2, 5.0f}}}, {0, 3, 1, 3}), 2);
  EXPECT_EQ(Once({.logit_bias = {{1, -100.0f}, {3, -100.0f}}}, {0, 3, 1, 3}), 2);
  // Biased to 4, then halved by the penalty to 2: the other way round it would be 0.5 + 3.
  EXPECT_EQ(Once({.repeat_penalty = 2, .logit_bias = {{0, 3.0f}}}, {1, 3}, {0}), 1);
  // What cannot be stays so; an id that the vocabulary does not have is nobody's.
  const float never = -std::numeric_limits<float>::infinity();
  EXPECT_EQ(Once({.logit_bias = {{0, 100.0f}, {9, 100.0f}}}, {never, 0}), 1);
}

TEST(Sampler, RefusesABiasThatIsNoNumber) {
  EXPECT_THROW((SamplerConfig{.logit_bias = {{-1, 1.0f}}}).Validate(), Error);
  EXPECT_THROW(
      (SamplerConfig{.logit_bias = {{1, std::numeric_limits<float>::infinity()}}}.Validate()),
      Error);
}

TEST(Sampler, DrawsWithTheProbabilitiesOfTheSoftmax) {
  const std::vector<double> probabilities = {0.1, 0.6, 0.3};
  std::map<int32_t, int> counts;
  const int draws = 20000;
  for (uint64_t i = 0; i < draws; ++i)
    ++counts[Once({.temperature = 1}, Logs(probabilities), {}, 0, i)];
  for (size_t i = 0; i < 3; ++i) {  // five standard deviations
    const double p = probabilities[i];
    EXPECT_NEAR(counts[static_cast<int32_t>(i)], draws * p, 5 * std::sqrt(draws * p * (1 - p)));
  }
}

TEST(Sampler, TopKKeepsTheKLikeliestAndTheLowerIdOfTies) {
  EXPECT_EQ(Seen({.temperature = 1, .top_k = 2}, {1, 2, 2, 2}), (std::set<int32_t>{1, 2}));
  EXPECT_EQ(Seen({.temperature = 1, .top_k = 1}, {1, 2, 5, 2}), (std::set<int32_t>{2}));
  EXPECT_EQ(Seen({.temperature = 1, .top_k = 9}, {0, 0}), (std::set<int32_t>{0, 1}));
}

TEST(Sampler, TopPKeepsTheTokenThatCrosses) {
  const auto logits = Logs({0.1, 0.5, 0.25, 0.15});
  EXPECT_EQ(Seen({.temperature = 1, .top_p = 0.6}, logits), (std::set<int32_t>{1, 2}));
  EXPECT_EQ(Seen({.temperature = 1, .top_p = 0.4}, logits), (std::set<int32_t>{1}));
  EXPECT_EQ(Seen({.temperature = 1, .top_p = 0.8}, logits), (std::set<int32_t>{1, 2, 3}));
  EXPECT_EQ(Seen({.temperature = 1, .top_p = 0}, logits), (std::set<int32_t>{1}));
}

TEST(Sampler, TopPCountsTheMassThatTopKLeft) {
  // Of {0.5, 0.25} the first is two thirds.
  EXPECT_EQ(Seen({.temperature = 1, .top_k = 2, .top_p = 0.66}, Logs({0.25, 0.5, 0.15, 0.1})),
            (std::set<int32_t>{1}));
}

TEST(Sampler, MinPIsRelativeToTheLikeliest) {
  EXPECT_EQ(Seen({.temperature = 1, .min_p = 0.4}, Logs({0.5, 0.25, 0.15, 0.1})),
            (std::set<int32_t>{0, 1}));
  EXPECT_EQ(Seen({.temperature = 1, .min_p = 1}, Logs({0.5, 0.25, 0.25})), (std::set<int32_t>{0}));
}

TEST(Sampler, AppliesTemperatureBeforeTopP) {
  // At temperature 2 the square roots count: {0.64, 0.36} becomes {0.571, 0.429}.
  const auto logits = Logs({0.64, 0.36});
  EXPECT_EQ(Seen({.temperature = 1, .top_p = 0.6}, logits), (std::set<int32_t>{0}));
  EXPECT_EQ(Seen({.temperature = 2, .top_p = 0.6}, logits), (std::set<int32_t>{0, 1}));
}

TEST(Sampler, RepeatPenaltyLooksAtTheLast64TokensOnce) {
  const SamplerConfig config{.repeat_penalty = 2};
  EXPECT_EQ(Once(config, {3, 2}, {0, 0, 0}), 1);     // 1.5 < 2, whatever the number of times
  EXPECT_EQ(Once(config, {3.9f, 1.9f}, {0, 0}), 0);  // 1.95 > 1.9
  EXPECT_EQ(Once(config, {-1, -1.5f}, {0}), 1);      // -2 < -1.5
  std::vector<int32_t> old(65, 2);
  old[0] = 0;
  EXPECT_EQ(Once(config, {3, 2, 0}, old), 0);
}

TEST(Sampler, PresenceAndFrequencyLookAtTheAnswerOnly) {
  EXPECT_EQ(Once({.presence_penalty = 1.5}, {3, 2}, {0}, 0), 0);
  EXPECT_EQ(Once({.presence_penalty = 1.5}, {3, 2}, {0}, 1), 1);
  EXPECT_EQ(Once({.presence_penalty = 0.75}, {3, 2}, {0, 0}, 2), 0);
  EXPECT_EQ(Once({.frequency_penalty = 0.75}, {3, 2}, {0, 0}, 1), 0);
  EXPECT_EQ(Once({.frequency_penalty = 0.75}, {3, 2}, {0, 0}, 2), 1);
}

TEST(Sampler, IgnoresIdsOutsideTheVocabulary) {
  EXPECT_EQ(Once({.repeat_penalty = 2, .frequency_penalty = 1}, {3, 2}, {-1, 7}, 2), 0);
}

TEST(Sampler, RefusesLogitsThatAreNoNumbers) {
  const float inf = std::numeric_limits<float>::infinity();
  EXPECT_THROW(Once({}, {0, std::nanf("")}), Error);
  EXPECT_THROW(Once({}, {0, inf}), Error);
  EXPECT_THROW(Once({}, {-inf, -inf}), Error);
  EXPECT_EQ(Once({.temperature = 1}, {-inf, 0}), 1);
}

TEST(Sampler, RefusesSettingsOutOfRange) {
  EXPECT_THROW(Sampler({.temperature = -1}), Error);
  EXPECT_THROW(Sampler({.temperature = std::nan("")}), Error);
  EXPECT_THROW(Sampler({.top_k = -1}), Error);
  EXPECT_THROW(Sampler({.top_p = 1.5}), Error);
  EXPECT_THROW(Sampler({.min_p = -0.1}), Error);
  EXPECT_THROW(Sampler({.repeat_penalty = 0}), Error);
}

TEST(Sampler, ATinyTemperatureIsGreedy) {
  for (uint64_t i = 0; i < 50; ++i)
    EXPECT_EQ(Once({.temperature = 1e-300}, {1, 1.0001f, -80}, {}, 0, i), 1);
}

}  // namespace
}  // namespace cadre
