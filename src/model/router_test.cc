#include "model/router.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <set>

#include "base/random.h"

namespace cadre {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

Routing Route(const std::vector<std::vector<float>>& rows, const RouterConfig& config,
              const RouterLimits& limits = {}) {
  std::vector<float> logits;
  for (const auto& row : rows) logits.insert(logits.end(), row.begin(), row.end());
  const auto count = static_cast<int64_t>(rows.size());
  Routing routing;
  routing.Reserve(count, config, limits.MaxChoices(config));
  routing.SetTokens(count, config, limits.MaxChoices(config));
  ChooseExperts({logits.data(), count, config.num_experts}, config, limits, routing);
  return routing;
}

std::vector<int32_t> Experts(const Routing& routing, int64_t row) {
  const auto span = routing.experts.row_span(row);
  return {span.begin(), span.end()};
}

std::vector<float> Gates(const Routing& routing, int64_t row) {
  const auto span = routing.gates.row_span(row);
  return {span.begin(), span.end()};
}

const RouterConfig kTopTwo = {.num_experts = 4, .top_k = 2};

TEST(ChooseExperts, TakesTheHighestLogitFirst) {
  const Routing routing = Route({{0, 3, 1, 2}, {5, -1, 4, 4.5f}}, kTopTwo);
  EXPECT_EQ(Experts(routing, 0), (std::vector<int32_t>{1, 3}));
  EXPECT_EQ(Experts(routing, 1), (std::vector<int32_t>{0, 3}));
  // With two experts the first gate is 1 / (1 + exp(l2 - l1)).
  EXPECT_NEAR(routing.gates.row(0)[0], 1 / (1 + std::exp(-1.0)), 1e-7);
}

TEST(ChooseExperts, BreaksTiesTowardsTheLowerExpert) {
  EXPECT_EQ(Experts(Route({{1, 1, 1, 1}}, kTopTwo), 0), (std::vector<int32_t>{0, 1}));
  EXPECT_EQ(Experts(Route({{0, 2, 1, 2}}, kTopTwo), 0), (std::vector<int32_t>{1, 3}));
  EXPECT_EQ(Experts(Route({{0.0f, -0.0f, -1, -1}}, kTopTwo), 0), (std::vector<int32_t>{0, 1}));
}

TEST(ChooseExperts, UsesTheExpertsItIsGiven) {
  const std::vector<int32_t> given = {2, 0, 1, -1, 3, 1};
  const std::vector<std::vector<float>> rows = {{0, 3, 1, 2}, {5, -1, 4, 4.5f}, {1, 2, 3, 4}};
  const Routing routing = Route(rows, kTopTwo, {.experts = given});
  EXPECT_EQ(Experts(routing, 0), (std::vector<int32_t>{2, 0}));
  EXPECT_EQ(Experts(routing, 1), (std::vector<int32_t>{1, -1}));
  EXPECT_EQ(Experts(routing, 2), (std::vector<int32_t>{3, 1}));
  EXPECT_NEAR(routing.gates.row(0)[0], 1 / (1 + std::exp(-1.0)), 1e-7);
  EXPECT_EQ(Gates(routing, 1), (std::vector<float>{1, 0}));
  EXPECT_NEAR(routing.gates.row(2)[1], 1 / (1 + std::exp(2.0)), 1e-7);
  // Probabilities are the router's, and over all experts a given one has its share of them.
  RouterConfig over_all = kTopTwo;
  over_all.softmax = RouterSoftmax::kAll;
  const Routing shares = Route(rows, over_all, {.experts = given});
  EXPECT_EQ(shares.gates.row(0)[0], shares.probs.row(0)[2]);
  EXPECT_NEAR(shares.probs.row(2)[3], 1 / (1 + std::exp(-1.0) + std::exp(-2.0) + std::exp(-3.0)),
              1e-6);
  const std::vector<int64_t> wanted = {2};
  const Routing narrow = Route({rows[2]}, kTopTwo, {.rows = wanted, .experts = given});
  EXPECT_EQ(Experts(narrow, 0), (std::vector<int32_t>{3, 1}));
}

TEST(ChooseExperts, NeverPrefersNanToANumber) {
  const Routing routing =
      Route({{kNan, -100, kNan, 5}, {kNan, kNan, kNan, 1}, {kNan, kNan, kNan, kNan}}, kTopTwo);
  EXPECT_EQ(Experts(routing, 0), (std::vector<int32_t>{3, 1}));
  EXPECT_EQ(Experts(routing, 1), (std::vector<int32_t>{3, 0}));
  EXPECT_EQ(Gates(routing, 1), (std::vector<float>{1, 0}));
  EXPECT_EQ(Experts(routing, 2), (std::vector<int32_t>{0, 1}));
  EXPECT_EQ(Gates(routing, 2), (std::vector<float>{0.5f, 0.5f}));
}

TEST(ChooseExperts, GivesFiniteGatesForAnyLogits) {
  const std::vector<std::vector<float>> rows = {{kInfinity, 0, 0, 0},
                                                {-kInfinity, -kInfinity, -kInfinity, -kInfinity},
                                                {kInfinity, kInfinity, 1, 2},
                                                {3e38f, -3e38f, 0, 1},
                                                {-kInfinity, 4, kNan, kInfinity}};
  const Routing routing = Route(rows, kTopTwo);
  for (int64_t t = 0; t < routing.experts.rows; ++t) {
    EXPECT_NEAR(routing.gates.row(t)[0] + routing.gates.row(t)[1], 1, 1e-6) << t;
    const auto probs = routing.probs.row_span(t);
    EXPECT_NEAR(std::accumulate(probs.begin(), probs.end(), 0.0), 1, 1e-6) << t;
  }
  EXPECT_EQ(routing.experts.row(0)[0], 0);
  EXPECT_EQ(routing.experts.row(4)[0], 3);
}

TEST(ChooseExperts, ChoosesDistinctExpertsInFallingOrderWithGatesThatSumToOne) {
  Random random(3);
  for (const int64_t num_experts : {1, 2, 5, 16}) {
    for (int64_t k = 1; k <= num_experts; ++k) {
      const RouterConfig config = {.num_experts = num_experts, .top_k = k};
      std::vector<std::vector<float>> rows(20,
                                           std::vector<float>(static_cast<size_t>(num_experts)));
      for (auto& row : rows) {
        for (float& logit : row)
          logit = static_cast<float>(std::round(4 * random.NextNormal()));  // ties occur
      }
      const Routing routing = Route(rows, config);
      for (int64_t t = 0; t < 20; ++t) {
        const auto experts = Experts(routing, t);
        const auto& row = rows[static_cast<size_t>(t)];
        EXPECT_EQ(std::set<int32_t>(experts.begin(), experts.end()).size(), static_cast<size_t>(k));
        double sum = 0;
        for (size_t c = 0; c < experts.size(); ++c) {
          sum += static_cast<double>(routing.gates.row(t)[c]);
          if (c == 0) continue;
          const float before = row[static_cast<size_t>(experts[c - 1])],
                      now = row[static_cast<size_t>(experts[c])];
          EXPECT_TRUE(before > now || (before == now && experts[c - 1] < experts[c]));
          EXPECT_GE(routing.gates.row(t)[c - 1], routing.gates.row(t)[c]);
        }
        EXPECT_NEAR(sum, 1, 1e-6);
        for (size_t e = 0; e < row.size(); ++e) {  // nobody left out is better than the last choice
          const bool chosen =
              std::find(experts.begin(), experts.end(), static_cast<int32_t>(e)) != experts.end();
          if (!chosen) {
            EXPECT_LE(row[e], row[static_cast<size_t>(experts.back())]);
          }
        }
      }
    }
  }
}

TEST(ChooseExperts, TakesGatesOverAllExpertsWhenAsked) {
  const RouterConfig config = {.num_experts = 4, .top_k = 2, .softmax = RouterSoftmax::kAll};
  const Routing routing =
      Route({{std::log(1.0f), std::log(4.0f), std::log(2.0f), std::log(3.0f)}}, config);
  EXPECT_EQ(Experts(routing, 0), (std::vector<int32_t>{1, 3}));
  EXPECT_NEAR(routing.gates.row(0)[0], 0.4, 1e-6);
  EXPECT_NEAR(routing.gates.row(0)[1], 0.3, 1e-6);
}

TEST(ChooseExperts, KeepsProbabilitiesOfAllExperts) {
  const Routing routing =
      Route({{std::log(1.0f), std::log(4.0f), std::log(2.0f), std::log(3.0f)}}, kTopTwo);
  const double expected[] = {0.1, 0.4, 0.2, 0.3};
  for (int e = 0; e < 4; ++e) EXPECT_NEAR(routing.probs.row(0)[e], expected[e], 1e-6);
  EXPECT_NEAR(routing.gates.row(0)[0], 4.0 / 7, 1e-6);
}

TEST(ChooseExperts, HonoursTheWishOfEachRow) {
  const std::vector<int32_t> wishes = {1, 2, 0, 9};
  const std::vector<float> logits = {0, 3, 1, 2};
  const Routing routing =
      Route({logits, logits, logits, logits}, kTopTwo, {.top_k = wishes, .rows = {}});
  EXPECT_EQ(Experts(routing, 0), (std::vector<int32_t>{1, -1, -1, -1}));
  EXPECT_EQ(Gates(routing, 0), (std::vector<float>{1, 0, 0, 0}));
  EXPECT_EQ(Experts(routing, 1), (std::vector<int32_t>{1, 3, -1, -1}));
  EXPECT_EQ(Experts(routing, 2), (std::vector<int32_t>{1, -1, -1, -1}));  // one at least
  EXPECT_EQ(Experts(routing, 3), (std::vector<int32_t>{1, 3, 2, 0}));     // all at most
}

TEST(ChooseExperts, LeavesOutWhatTheRouterLikesLessThanARowWants) {
  const std::vector<float> logits = {std::log(1.0f), std::log(4.0f), std::log(2.0f),
                                     std::log(3.0f)};
  const std::vector<int32_t> wishes = {4, 4, 2};
  const std::vector<float> least = {0.15f, 0.9f, 0};
  const Routing routing =
      Route({logits, logits, logits}, kTopTwo, {.top_k = wishes, .min_prob = least});
  EXPECT_EQ(Experts(routing, 0), (std::vector<int32_t>{1, 3, 2, -1}));
  EXPECT_NEAR(Gates(routing, 0)[0], 4.0 / 9, 1e-6);                       // of those that are left
  EXPECT_EQ(Experts(routing, 1), (std::vector<int32_t>{1, -1, -1, -1}));  // the first stays
  EXPECT_EQ(Gates(routing, 1)[0], 1);
  EXPECT_EQ(Experts(routing, 2), (std::vector<int32_t>{1, 3, -1, -1}));
}

TEST(ChooseExperts, FindsTheWishOfARowOfTheStep) {
  const std::vector<int32_t> wishes = {2, 1, 2, 1};
  const std::vector<int64_t> rows = {1, 2};
  const std::vector<float> logits = {0, 3, 1, 2};
  const Routing routing = Route({logits, logits}, kTopTwo, {.top_k = wishes, .rows = rows});
  EXPECT_EQ(Experts(routing, 0), (std::vector<int32_t>{1, -1}));
  EXPECT_EQ(Experts(routing, 1), (std::vector<int32_t>{1, 3}));
}

TEST(ChooseExperts, SendsEverythingToTheOneExpertOfADenseModel) {
  const Routing routing = Route({{0}, {-7}}, {.num_experts = 1, .top_k = 1});
  for (int64_t t = 0; t < 2; ++t) {
    EXPECT_EQ(Experts(routing, t), std::vector<int32_t>{0});
    EXPECT_EQ(Gates(routing, t), std::vector<float>{1});
  }
}

TEST(ChooseExperts, TakesNoRows) { EXPECT_EQ(Route({}, kTopTwo).experts.rows, 0); }

}  // namespace
}  // namespace cadre
