#include "model/dispatch.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/random.h"

namespace cadre {
namespace {

// choices: per token, its experts; -1: unused.
Routing Choices(const std::vector<std::vector<int32_t>>& choices, const RouterConfig& config) {
  Routing routing;
  const auto tokens = static_cast<int64_t>(choices.size());
  routing.Reserve(tokens, config);
  routing.SetTokens(tokens, config);
  for (int64_t t = 0; t < tokens; ++t) {
    const auto& row = choices[static_cast<size_t>(t)];
    std::copy(row.begin(), row.end(), routing.experts.row(t));
  }
  return routing;
}

DispatchPlan Plan(const std::vector<std::vector<int32_t>>& choices, const RouterConfig& config) {
  DispatchPlan plan;
  PlanDispatch(Choices(choices, config), config, plan);
  return plan;
}

TEST(PlanDispatch, SortsRowsByExpertThenChoiceThenToken) {
  const auto plan = Plan({{1, 0}, {0, 1}, {1, 2}, {0, 1}}, {.num_experts = 4, .top_k = 2});
  EXPECT_EQ(plan.expert_begin, (std::vector<int64_t>{0, 3, 7, 8, 8}));
  EXPECT_EQ(plan.token_of_row, (std::vector<int32_t>{1, 3, 0, 0, 2, 1, 3, 2}));
  EXPECT_EQ(plan.row_of_choice, (std::vector<int32_t>{3, 2, 0, 5, 4, 7, 1, 6}));
  EXPECT_EQ(plan.rows(), 8);
  EXPECT_EQ(plan.dropped, 0);
}

// Capacity ceil(1 * 4 * 2 / 4) = 2. Shares of the second gates: 1/2, 1/5, 1/5, 1/2.
TEST(PlanDispatch, LeavesOutSecondChoicesThatLose) {
  const RouterConfig config = {.num_experts = 4, .top_k = 2, .capacity_factor = 1};
  Routing routing = Choices({{0, 3}, {1, 3}, {0, 3}, {1, 3}}, config);
  const std::vector<float> gates = {.5f, .5f, .8f, .2f, .4f, .1f, .3f, .3f};
  std::copy(gates.begin(), gates.end(), routing.gates.data);
  DispatchPlan plan;
  PlanDispatch(routing, config, plan, std::vector<float>{.99f, .39f, .41f, .99f});
  EXPECT_EQ(plan.row_of_choice, (std::vector<int32_t>{0, 4, 2, 5, 1, -1, 3, -1}));
  EXPECT_EQ(plan.dropped, 1);  // the last, which won but found no place; the third took none
  PlanDispatch(routing, config, plan, std::vector<float>{.99f, .41f, .41f, .99f});
  EXPECT_EQ(plan.row_of_choice, (std::vector<int32_t>{0, 4, 2, -1, 1, -1, 3, 5}));
  EXPECT_EQ(plan.dropped, 0);
}

TEST(PlanDispatch, NamesTheExpertsThatHaveRows) {
  const auto plan = Plan({{3, 0}, {3, -1}}, {.num_experts = 5, .top_k = 2});
  EXPECT_EQ(plan.active, (std::vector<int32_t>{0, 3}));
}

TEST(PlanDispatch, FirstChoicesClaimCapacityBeforeSecond) {
  // Capacity ceil(1 * 3 * 2 / 2) = 3. Expert 0: first choices of tokens 1 and 2, then the second
  // choice of token 0; expert 1: token 0 first.
  const auto fits =
      Plan({{1, 0}, {0, 1}, {0, 1}}, {.num_experts = 2, .top_k = 2, .capacity_factor = 1});
  EXPECT_EQ(fits.dropped, 0);
  // Capacity ceil(0.5 * 3 * 2 / 2) = 2: the second choice of token 0 finds expert 0 full, that of
  // token 2 expert 1.
  const auto full =
      Plan({{1, 0}, {0, 1}, {0, 1}}, {.num_experts = 2, .top_k = 2, .capacity_factor = 0.5});
  EXPECT_EQ(full.dropped, 2);
  EXPECT_EQ(full.expert_begin, (std::vector<int64_t>{0, 2, 4}));
  EXPECT_EQ(full.row_of_choice, (std::vector<int32_t>{2, -1, 0, 3, 1, -1}));
  EXPECT_EQ(full.token_of_row, (std::vector<int32_t>{1, 2, 0, 1}));
}

TEST(PlanDispatch, EarlierTokensClaimCapacityAmongEqualChoices) {
  const auto plan =
      Plan({{0}, {0}, {0}, {1}}, {.num_experts = 2, .top_k = 1, .capacity_factor = 1});
  EXPECT_EQ(plan.row_of_choice, (std::vector<int32_t>{0, 1, -1, 2}));
  EXPECT_EQ(plan.dropped, 1);
}

TEST(PlanDispatch, UnusedChoicesTakeNoRowAndAreNotDropped) {
  const auto plan = Plan({{2, -1}, {-1, -1}, {0, 2}}, {.num_experts = 3, .top_k = 2});
  EXPECT_EQ(plan.row_of_choice, (std::vector<int32_t>{1, -1, -1, -1, 0, 2}));
  EXPECT_EQ(plan.dropped, 0);
  EXPECT_EQ(plan.rows(), 3);
}

TEST(PlanDispatch, TakesAStepWithoutTokens) {
  const auto plan = Plan({}, {.num_experts = 3, .top_k = 2, .capacity_factor = 1});
  EXPECT_EQ(plan.expert_begin, (std::vector<int64_t>{0, 0, 0, 0}));
  EXPECT_EQ(plan.rows(), 0);
  EXPECT_TRUE(plan.token_of_row.empty());
}

TEST(PlanDispatch, ForgetsThePlanBefore) {
  const RouterConfig config = {.num_experts = 2, .top_k = 1, .capacity_factor = 1};
  DispatchPlan plan;
  PlanDispatch(Choices({{0}, {0}, {0}, {0}}, config), config, plan);
  PlanDispatch(Choices({{1}}, config), config, plan);
  EXPECT_EQ(plan.dropped, 0);
  EXPECT_EQ(plan.expert_begin, (std::vector<int64_t>{0, 0, 1}));
  EXPECT_EQ(plan.token_of_row, std::vector<int32_t>{0});
  EXPECT_EQ(plan.row_of_choice, std::vector<int32_t>{0});
}

// What must hold of any plan, whatever the routing.
void ExpectSound(const Routing& routing, const RouterConfig& config, const DispatchPlan& plan) {
  const int64_t tokens = routing.experts.rows, k = config.top_k;
  ASSERT_EQ(plan.expert_begin.size(), static_cast<size_t>(config.num_experts) + 1);
  ASSERT_TRUE(std::is_sorted(plan.expert_begin.begin(), plan.expert_begin.end()));
  ASSERT_EQ(plan.token_of_row.size(), static_cast<size_t>(plan.rows()));
  ASSERT_EQ(plan.row_of_choice.size(), static_cast<size_t>(tokens * k));
  std::vector<int> seen(static_cast<size_t>(plan.rows()), 0);
  std::vector<int64_t> rank(static_cast<size_t>(plan.rows()));  // choice, then token
  int64_t dropped = 0;
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t c = 0; c < k; ++c) {
      const int32_t expert = routing.experts.row(t)[c];
      const int32_t row = plan.row_of_choice[static_cast<size_t>(t * k + c)];
      if (expert < 0) {
        EXPECT_EQ(row, -1);
      } else if (row < 0) {
        ++dropped;
      } else {
        ++seen[static_cast<size_t>(row)];
        rank[static_cast<size_t>(row)] = c * tokens + t;
        EXPECT_EQ(plan.token_of_row[static_cast<size_t>(row)], t);
        EXPECT_GE(row, plan.expert_begin[static_cast<size_t>(expert)]);
        EXPECT_LT(row, plan.expert_begin[static_cast<size_t>(expert) + 1]);
      }
    }
  }
  EXPECT_EQ(dropped, plan.dropped);
  EXPECT_TRUE(std::all_of(seen.begin(), seen.end(), [](int n) { return n == 1; }));
  for (size_t e = 0; e + 1 < plan.expert_begin.size(); ++e) {
    EXPECT_TRUE(std::is_sorted(rank.begin() + plan.expert_begin[e],
                               rank.begin() + plan.expert_begin[e + 1]));
  }
}

// Nobody is dropped from an expert that has room, and none that stayed came after one that was
// dropped.
void ExpectFairCapacity(const Routing& routing, const RouterConfig& config,
                        const DispatchPlan& plan) {
  const int64_t tokens = routing.experts.rows, k = config.top_k;
  const auto capacity =
      static_cast<int64_t>(std::ceil(config.capacity_factor * static_cast<double>(tokens * k) /
                                     static_cast<double>(config.num_experts)));
  std::vector<int64_t> used(static_cast<size_t>(config.num_experts), 0);
  for (int64_t c = 0; c < k; ++c) {
    for (int64_t t = 0; t < tokens; ++t) {
      const int32_t expert = routing.experts.row(t)[c];
      if (expert < 0) continue;
      const bool room = used[static_cast<size_t>(expert)] < capacity;
      EXPECT_EQ(plan.row_of_choice[static_cast<size_t>(t * k + c)] >= 0, room);
      if (room) ++used[static_cast<size_t>(expert)];
    }
  }
}

TEST(PlanDispatch, IsSoundForAnyRouting) {
  Random random(11);
  DispatchPlan plan;
  for (int i = 0; i < 300; ++i) {
    const auto num_experts = static_cast<int64_t>(1 + random.NextBelow(9));
    const auto k = static_cast<int64_t>(1 + random.NextBelow(static_cast<uint64_t>(num_experts)));
    const double factor = i % 3 == 0 ? 0 : 2 * random.NextDouble() + 0.01;
    const RouterConfig config = {.num_experts = num_experts, .top_k = k, .capacity_factor = factor};
    std::vector<std::vector<int32_t>> choices(random.NextBelow(40));
    for (auto& row : choices) {
      for (int64_t c = 0; c < k; ++c) {
        row.push_back(
            static_cast<int32_t>(random.NextBelow(static_cast<uint64_t>(num_experts) + 1)) - 1);
      }
    }
    const Routing routing = Choices(choices, config);
    PlanDispatch(routing, config, plan);
    ExpectSound(routing, config, plan);
    if (factor > 0) ExpectFairCapacity(routing, config, plan);
    if (factor == 0) {
      EXPECT_EQ(plan.dropped, 0);
    }
  }
}

}  // namespace
}  // namespace cadre
