#include "train/schedule.h"

#include <gtest/gtest.h>

namespace cadre {
namespace {

TEST(Schedule, RisesStraightToThePeak) {
  const Schedule schedule = {.peak = 0.5, .final_share = 0.1, .warmup_steps = 10, .steps = 100};
  for (int64_t step = 1; step <= 10; ++step) {
    EXPECT_DOUBLE_EQ(schedule.LearningRate(step), 0.05 * static_cast<double>(step));
  }
}

TEST(Schedule, FallsAsACosineToItsLastShare) {
  const Schedule schedule = {.peak = 0.5, .final_share = 0.1, .warmup_steps = 10, .steps = 110};
  EXPECT_DOUBLE_EQ(schedule.LearningRate(60), 0.5 * (0.1 + 0.9 * 0.5));  // half way
  EXPECT_DOUBLE_EQ(schedule.LearningRate(110), 0.05);
  for (int64_t step = 11; step <= 110; ++step)
    EXPECT_LT(schedule.LearningRate(step), schedule.LearningRate(step - 1));
}

TEST(Schedule, MayStartAtThePeak) {
  const Schedule schedule = {.peak = 1, .final_share = 0, .warmup_steps = 0, .steps = 10};
  EXPECT_LT(schedule.LearningRate(1), 1);
  EXPECT_GT(schedule.LearningRate(1), 0.97);
  EXPECT_NEAR(schedule.LearningRate(10), 0, 1e-15);
}

TEST(Schedule, MayEndWhileItRises) {
  const Schedule schedule = {.peak = 1, .final_share = 0.1, .warmup_steps = 100, .steps = 10};
  for (int64_t step = 1; step <= 10; ++step)
    EXPECT_DOUBLE_EQ(schedule.LearningRate(step), 0.01 * static_cast<double>(step));
}

}  // namespace
}  // namespace cadre
