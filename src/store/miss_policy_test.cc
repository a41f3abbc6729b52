#include "store/miss_policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cadre {
namespace {

using ::testing::ElementsAre;
using ::testing::FloatNear;

constexpr float kNone = -1000;

// Routing of rows of logits, as the model would have it.
Routing Routed(const std::vector<std::vector<float>>& logits, const RouterConfig& config,
               const RouterLimits& limits = {}) {
  Routing routing;
  const auto rows = static_cast<int64_t>(logits.size());
  routing.Reserve(rows, config);
  routing.SetTokens(rows, config);
  Buffer<float> memory(rows * config.num_experts);
  const Mat<float> all = memory.AsMat(rows, config.num_experts);
  for (int64_t t = 0; t < rows; ++t) std::ranges::copy(logits[static_cast<size_t>(t)], all.row(t));
  ChooseExperts(all, config, limits, routing);
  return routing;
}

const RouterConfig kConfig = {.num_experts = 4, .top_k = 2};

TEST(MissPolicy, DemandIsRowsAndTheLargestGate) {
  const Routing routing = Routed({{3, 2, 0, 0}, {0, 5, 0, 1}, {0, 1, 2, 0}}, kConfig);
  std::vector<Demand> demand(4);
  EXPECT_EQ(FindDemand(routing, demand), 6);
  EXPECT_EQ(demand[0].rows, 1);
  EXPECT_EQ(demand[1].rows, 3);
  EXPECT_EQ(demand[1].gate, routing.gates.row(1)[0]);
  EXPECT_EQ(demand[2].rows, 1);
  EXPECT_EQ(demand[3].rows, 1);
}

TEST(MissPolicy, AnUnusedChoiceIsNoDemand) {
  const std::vector<int32_t> one = {1};
  std::vector<Demand> demand(4);
  EXPECT_EQ(FindDemand(Routed({{3, 2, 0, 0}}, kConfig, {.top_k = one}), demand), 1);
  EXPECT_EQ(demand[1].rows, 0);
}

TEST(MissPolicy, WaitsUnlessItIsToldOtherwise) {
  EXPECT_FALSE(GoesWithout({}, {.rows = 1, .gate = 0.1f}, 1000));
}

TEST(MissPolicy, RowsThatShareAnExpertShareTheWait) {
  const MissPolicy policy = {.on_miss = OnMiss::kLowBit, .most_wait_s = 0.010, .most_gate = 1};
  EXPECT_TRUE(GoesWithout(policy, {.rows = 1, .gate = 0.9f}, 0.011));
  EXPECT_FALSE(GoesWithout(policy, {.rows = 1, .gate = 0.9f}, 0.009));
  EXPECT_FALSE(GoesWithout(policy, {.rows = 2, .gate = 0.9f}, 0.011));
  EXPECT_TRUE(GoesWithout(policy, {.rows = 2, .gate = 0.9f}, 0.021));
  EXPECT_FALSE(GoesWithout(policy, {.rows = 0, .gate = 0}, 1000));
}

TEST(MissPolicy, ChoicesOfMuchWeightAreWaitedFor) {
  const MissPolicy policy = {.on_miss = OnMiss::kNextBest, .most_wait_s = 0, .most_gate = 0.3f};
  EXPECT_TRUE(GoesWithout(policy, {.rows = 1, .gate = 0.3f}, 0.001));
  EXPECT_FALSE(GoesWithout(policy, {.rows = 1, .gate = 0.31f}, 0.001));
}

// Gates and choices as of a router to which the expert had never occurred.
TEST(MissPolicy, TheNextBestIsWhatTheRouterWouldHaveChosenWithoutTheExpert) {
  for (const auto softmax : {RouterSoftmax::kChosen, RouterSoftmax::kAll}) {
    RouterConfig config = kConfig;
    config.softmax = softmax;
    Routing routing = Routed({{3, 2, 1, 0.5f}, {0, 4, 1, 2}}, config);
    std::vector<bool> given_up = {false, true, false, false};
    ChooseNextBest(config, {true, false, true, true}, given_up, routing);
    EXPECT_THAT(routing.experts.row_span(0), ElementsAre(0, 2));
    EXPECT_THAT(routing.experts.row_span(1), ElementsAre(2, 3));  // in the place of the expert
    EXPECT_TRUE(given_up[1]);
    if (softmax == RouterSoftmax::kAll) {
      EXPECT_EQ(routing.gates.row(0)[1], routing.probs.row(0)[2]);
      continue;
    }
    const Routing without = Routed({{3, kNone, 1, 0.5f}, {0, kNone, 1, 2}}, config);
    EXPECT_THAT(routing.gates.row(0)[0], FloatNear(without.gates.row(0)[0], 1e-6f));
    EXPECT_THAT(routing.gates.row(0)[1], FloatNear(without.gates.row(0)[1], 1e-6f));
    EXPECT_THAT(routing.gates.row(1)[1], FloatNear(without.gates.row(1)[0], 1e-6f));
  }
}

TEST(MissPolicy, OnlyWhatIsInMemoryIsNextBest) {
  Routing routing = Routed({{3, 2, 1, 0.5f}}, kConfig);
  std::vector<bool> given_up = {false, true, false, false};
  ChooseNextBest(kConfig, {true, false, false, true}, given_up, routing);
  EXPECT_THAT(routing.experts.row_span(0), ElementsAre(0, 3));
}

TEST(MissPolicy, AnExpertThatOneRowCannotReplaceIsWaitedForByAll) {
  Routing routing = Routed({{3, 2, 1, 0}, {0, 2, 1, 3}}, kConfig);
  std::vector<bool> given_up = {false, true, false, false};
  // The first row has nothing besides what it chose.
  ChooseNextBest(kConfig, {true, false, false, false}, given_up, routing);
  EXPECT_FALSE(given_up[1]);
  EXPECT_THAT(routing.experts.row_span(0), ElementsAre(0, 1));
  EXPECT_THAT(routing.experts.row_span(1), ElementsAre(3, 1));
}

TEST(MissPolicy, BothChoicesOfARowMayGoToOthers) {
  Routing routing = Routed({{3, 2, 1, 0.5f}}, kConfig);
  std::vector<bool> given_up = {true, true, false, false};
  ChooseNextBest(kConfig, {false, false, true, true}, given_up, routing);
  EXPECT_THAT(routing.experts.row_span(0), ElementsAre(2, 3));
}

TEST(MissPolicy, UnusedChoicesStayUnused) {
  const std::vector<int32_t> one = {1};
  Routing routing = Routed({{3, 2, 1, 0.5f}}, kConfig, {.top_k = one});
  std::vector<bool> given_up = {true, false, false, false};
  ChooseNextBest(kConfig, {false, true, true, true}, given_up, routing);
  EXPECT_THAT(routing.experts.row_span(0), ElementsAre(1, -1));
  EXPECT_THAT(routing.gates.row_span(0), ElementsAre(1, 0));
}

}  // namespace
}  // namespace cadre
