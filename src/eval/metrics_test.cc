#include "eval/metrics.h"

#include <gtest/gtest.h>

#include <cmath>

namespace cadre {
namespace {

EvalItem Choices(std::vector<std::string> answers, int64_t gold) {
  EvalItem item;
  item.contexts = {"q"};
  for (const auto& answer : answers) item.continuations.push_back(" " + answer);
  item.answers = std::move(answers);
  item.gold = gold;
  return item;
}

std::vector<Likelihood> Sums(std::initializer_list<double> sums) {
  std::vector<Likelihood> scores;
  for (const double sum : sums) scores.push_back({.log_likelihood = sum, .is_greedy = false});
  return scores;
}

TEST(ItemValue, AccIsTheLargestSumTheFirstOfEqualOnes) {
  const auto scores = Sums({-3, -2, -2});
  EXPECT_EQ(ItemValue(Metric::kAcc, Choices({"a", "b", "c"}, 1), scores), 1);
  EXPECT_EQ(ItemValue(Metric::kAcc, Choices({"a", "b", "c"}, 2), scores), 0);
}

TEST(ItemValue, AccNormDividesByCharactersAndAccBytesByBytes) {
  // Two characters of two bytes each against three of one.
  const auto scores = Sums({-4, -7.5});
  EXPECT_EQ(ItemValue(Metric::kAcc, Choices({"éé", "abc"}, 0), scores), 1);
  EXPECT_EQ(ItemValue(Metric::kAccNorm, Choices({"éé", "abc"}, 0), scores), 1);   // -2, -2.5
  EXPECT_EQ(ItemValue(Metric::kAccNorm, Choices({"éé", "abcd"}, 1), scores), 1);  // -2, -1.9
  const auto nearly = Sums({-4, -3.3});
  EXPECT_EQ(ItemValue(Metric::kAccNorm, Choices({"éé", "abc"}, 1), nearly), 1);   // -2, -1.1
  EXPECT_EQ(ItemValue(Metric::kAccBytes, Choices({"éé", "abc"}, 0), nearly), 1);  // -1, -1.1
}

TEST(ItemValue, GreedyLooksAtTheRightContinuation) {
  auto scores = Sums({-1});
  EXPECT_EQ(ItemValue(Metric::kGreedy, Choices({"a"}, 0), scores), 0);
  scores[0].is_greedy = true;
  EXPECT_EQ(ItemValue(Metric::kGreedy, Choices({"a"}, 0), scores), 1);
}

TEST(ItemValue, TruthfulQa) {
  EvalItem item = Choices({"best", "false", "true"}, 0);
  item.is_true = {true, false, true};
  item.in_mc1 = {true, true, false};
  item.in_mc2 = {true, true, true};
  EXPECT_EQ(ItemValue(Metric::kMc1, item, Sums({-2, -3, -1})), 1);
  EXPECT_EQ(ItemValue(Metric::kMc1, item, Sums({-2, -2, -1})), 0);  // a tie is no success
  // Far below what exp can say.
  const double shares = ItemValue(Metric::kMc2, item, Sums({-2000, -2000 + std::log(2.0), -2000}));
  EXPECT_NEAR(shares, 0.5, 1e-12);
}

TEST(Aggregate, HasTheErrorOfASample) {
  const std::vector<double> values = {1, 0, 0, 1, 1};
  const auto result = Aggregate(Metric::kAcc, values);
  EXPECT_NEAR(result.mean, 0.6, 1e-15);
  EXPECT_NEAR(result.error, std::sqrt(0.6 * 0.4 / 4), 1e-15);
  const auto perplexity = Aggregate(Metric::kPerplexity, std::vector<double>{1, 3});
  EXPECT_NEAR(perplexity.mean, std::exp(2.0), 1e-12);
  EXPECT_NEAR(perplexity.error, std::exp(2.0) * 1, 1e-12);
  EXPECT_EQ(Aggregate(Metric::kAcc, std::vector<double>{1}).error, 0);
}

// Two answers that name a group, the first as the stereotype has it, and one unknown.
EvalItem Bbq(bool is_ambiguous) {
  EvalItem item = Choices({"the old", "the young", "unknown"}, is_ambiguous ? 2 : 1);
  item.is_true = {false, !is_ambiguous, is_ambiguous};
  item.is_biased = {true, false, false};
  item.num_named = 2;
  item.is_ambiguous = is_ambiguous;
  return item;
}

TEST(Bbq, TheMeansAreTheBiasScoresOfTheirDefinition) {
  // Answers: 0 is biased, 1 is not, 2 is unknown.
  const std::vector<size_t> ambiguous = {0, 0, 0, 1, 2, 2, 2, 2}, clear = {0, 0, 1, 2};
  std::vector<double> accs, accs_ambiguous, biases_ambiguous, biases_clear;
  const auto add = [&](bool is_ambiguous, size_t chosen) {
    std::vector<double> sums = {-3, -3, -3};
    sums[chosen] = -1;
    const auto scores = Sums({sums[0], sums[1], sums[2]});
    const EvalItem item = Bbq(is_ambiguous);
    accs.push_back(ItemValue(Metric::kBbqAcc, item, scores));
    accs_ambiguous.push_back(ItemValue(Metric::kBbqAccAmbiguous, item, scores));
    biases_ambiguous.push_back(ItemValue(Metric::kBbqBiasAmbiguous, item, scores));
    biases_clear.push_back(ItemValue(Metric::kBbqBiasDisambiguated, item, scores));
  };
  for (const size_t chosen : ambiguous) add(true, chosen);
  for (const size_t chosen : clear) add(false, chosen);
  EXPECT_DOUBLE_EQ(Aggregate(Metric::kBbqAcc, accs).mean, 5.0 / 12);
  EXPECT_DOUBLE_EQ(Aggregate(Metric::kBbqAccAmbiguous, accs_ambiguous).mean, 0.5);
  // (1 - accuracy) (2 biased / named - 1)
  EXPECT_DOUBLE_EQ(Aggregate(Metric::kBbqBiasAmbiguous, biases_ambiguous).mean,
                   (1 - 0.5) * (2 * 3.0 / 4 - 1));
  EXPECT_DOUBLE_EQ(Aggregate(Metric::kBbqBiasDisambiguated, biases_clear).mean, 2 * 2.0 / 3 - 1);
}

}  // namespace
}  // namespace cadre
