#include "train/schedule.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

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

Schedule Wsd(int64_t steps, int64_t decay_steps, DecayShape decay) {
  return {.peak = 0.5,
          .final_share = 0.1,
          .warmup_steps = 10,
          .steps = steps,
          .kind = ScheduleKind::kWsd,
          .decay_steps = decay_steps,
          .decay = decay};
}

TEST(Schedule, OfWsdIsThePeakBetweenWarmUpAndDecay) {
  for (const auto decay : {DecayShape::kLinear, DecayShape::kCosine, DecayShape::kOneMinusSqrt}) {
    const Schedule schedule = Wsd(100, 20, decay);
    for (int64_t step = 1; step <= 10; ++step)
      EXPECT_DOUBLE_EQ(schedule.LearningRate(step), 0.05 * static_cast<double>(step));
    for (int64_t step = 11; step <= 80; ++step) EXPECT_EQ(schedule.LearningRate(step), 0.5);
    EXPECT_LT(schedule.LearningRate(81), 0.5);
    EXPECT_NEAR(schedule.LearningRate(100), 0.05, 1e-15);
  }
}

TEST(Schedule, OfWsdDecaysAsItsFormulaSays) {
  const auto rate = [](DecayShape decay, int64_t step) {
    return Wsd(100, 20, decay).LearningRate(step);
  };
  for (int64_t k = 1; k <= 20; ++k) {
    const double done = static_cast<double>(k) / 20;
    EXPECT_NEAR(rate(DecayShape::kLinear, 80 + k), 0.5 - 0.45 * done, 1e-15);
    EXPECT_NEAR(rate(DecayShape::kOneMinusSqrt, 80 + k), 0.5 - 0.45 * std::sqrt(done), 1e-15);
    EXPECT_NEAR(rate(DecayShape::kCosine, 80 + k),
                0.05 + 0.45 * std::pow(std::cos(std::numbers::pi * done / 2), 2), 1e-15);
  }
}

TEST(Schedule, OfWsdIsTheSameForALongerRunUntilTheDecay) {
  const Schedule one = Wsd(100, 20, DecayShape::kLinear),
                 longer = Wsd(300, 50, DecayShape::kLinear);
  EXPECT_EQ(one.stable_until(), 80);
  EXPECT_EQ(longer.stable_until(), 250);
  for (int64_t step = 1; step <= 80; ++step)
    EXPECT_EQ(one.LearningRate(step), longer.LearningRate(step));
  EXPECT_NE(one.LearningRate(81), longer.LearningRate(81));
}

TEST(Schedule, OfWsdMayHaveNoStablePhaseAndNoDecay) {
  EXPECT_LT(Wsd(30, 20, DecayShape::kLinear).LearningRate(11), 0.5);
  EXPECT_EQ(Wsd(30, 0, DecayShape::kLinear).LearningRate(30), 0.5);
}

}  // namespace
}  // namespace cadre
