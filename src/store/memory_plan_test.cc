#include "store/memory_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/testing.h"

namespace cadre {
namespace {

using base_testing::ErrorOf;
using ::testing::HasSubstr;

constexpr int64_t kM = 1'000'000;
const MemoryCosts kCosts = {.process = 30 * kM,
                            .shared = 1000 * kM,
                            .activations = 200 * kM,
                            .answers = 5 * kM,
                            .reading = 15 * kM,
                            .slot = 100 * kM,
                            .num_experts = 256,
                            .peak = 40 * kM};
const KvNeeds kKv = {.page_bytes = 30 * kM, .least_pages = 2, .most_pages = 20};

int64_t Total(const MemoryPlan& plan) {
  return plan.costs.Fixed() + plan.kv_bytes + (plan.slots + plan.guesses) * plan.costs.slot;
}

TEST(PlanMemory, SpendsNoMoreThanTheBudgetAndLittleLess) {
  for (int64_t budget = 1410 * kM; budget < 30000 * kM; budget += 37 * kM) {
    const MemoryPlan plan = PlanMemory(budget, kCosts, kKv, 2);
    EXPECT_LE(Total(plan), budget);
    if (plan.slots < kCosts.num_experts) {
      EXPECT_GT(Total(plan), budget - kCosts.slot);
    }
    EXPECT_GE(plan.slots, 1);
    EXPECT_GE(plan.kv_pages, kKv.least_pages);
    EXPECT_LE(plan.kv_pages, kKv.most_pages);
    EXPECT_LE(plan.slots, kCosts.num_experts);
  }
}

TEST(PlanMemory, GuessesAreForThoseWhoHaveManySlots) {
  EXPECT_EQ(PlanMemory(1500 * kM, kCosts, kKv, 2).guesses, 0);
  EXPECT_EQ(PlanMemory(8000 * kM, kCosts, kKv, 2).guesses, 2);
  EXPECT_EQ(PlanMemory(8000 * kM, kCosts, kKv, 0).guesses, 0);
  const MemoryPlan all = PlanMemory(40000 * kM, kCosts, kKv, 2);
  EXPECT_EQ(all.slots, 256);
  EXPECT_EQ(all.guesses, 0);  // there is nothing to guess
}

TEST(PlanMemory, SaysWhatTheLeastBudgetIs) {
  const std::string error = ErrorOf([] { PlanMemory(1409 * kM, kCosts, kKv, 2); });
  EXPECT_THAT(error, HasSubstr("this run needs 1410M at least"));
  EXPECT_THAT(error, HasSubstr("1.0 GB for the weights that every token needs"));
  EXPECT_EQ(PlanMemory(1410 * kM, kCosts, kKv, 2).slots, 1);
}

TEST(PlanMemory, CopiesInFewerBitsHaveTheirPart) {
  MemoryCosts costs = kCosts;
  costs.low_bit = 3000 * kM;
  EXPECT_EQ(PlanMemory(8000 * kM, kCosts, kKv, 0).slots,
            PlanMemory(11000 * kM, costs, kKv, 0).slots);
  EXPECT_THAT(PlanMemory(8000 * kM, costs, kKv, 0).ToText(),
              HasSubstr("3.0 GB for all experts in fewer bits"));
  EXPECT_THAT(ErrorOf([&] { PlanMemory(4409 * kM, costs, kKv, 2); }), HasSubstr("4410M at least"));
}

TEST(PlanMemory, CountsWhatTheProcessHadBefore) {
  MemoryCosts costs = kCosts;
  costs.peak = 5000 * kM;
  EXPECT_THAT(ErrorOf([&] { PlanMemory(4999 * kM, costs, kKv, 2); }), HasSubstr("5000M at least"));
}

}  // namespace
}  // namespace cadre
