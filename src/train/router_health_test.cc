#include "train/router_health.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cadre {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(ExamineLoad, SaysHowEvenEachLayerIs) {
  const RouterHealth health =
      ExamineLoad(std::vector<double>{0.5, 0.5, 0.5, 0.5, 2, 0, 0, 0, 1, 1, 0, 0}, 4);
  EXPECT_NEAR(health.load_entropy[0], 1, 1e-12);
  EXPECT_NEAR(health.load_entropy[1], 0, 1e-12);
  EXPECT_NEAR(health.load_entropy[2], 0.5, 1e-12);
  EXPECT_THAT(health.dead[0], IsEmpty());
  EXPECT_THAT(health.dead[1], ElementsAre(1, 2, 3));
  EXPECT_THAT(health.dead[2], ElementsAre(2, 3));
  EXPECT_THAT(health.collapsed, ElementsAre(1));
  EXPECT_FALSE(health.well());
}

TEST(ExamineLoad, CallsAnExpertDeadBelowAHundredthOfItsShare) {
  EXPECT_THAT(ExamineLoad(std::vector<double>{0.006, 0.994, 0.5, 0.5}, 4).dead[0], IsEmpty());
  EXPECT_THAT(ExamineLoad(std::vector<double>{0.004, 0.996, 0.5, 0.5}, 4).dead[0], ElementsAre(0));
}

TEST(ExamineLoad, FindsADenseModelAndAnEmptyStepWell) {
  EXPECT_TRUE(ExamineLoad(std::vector<double>{1, 1}, 1).well());
  EXPECT_TRUE(ExamineLoad(std::vector<double>{0, 0}, 2).well());
  EXPECT_EQ(ExamineLoad(std::vector<double>{0, 0}, 2).load_entropy, std::vector<double>{1});
}

const RouterHealth kWell = ExamineLoad(std::vector<double>{1, 1, 1, 1}, 4);
const RouterHealth kTwoDead = ExamineLoad(std::vector<double>{1, 1, 0, 0}, 4);
const RouterHealth kOneDead = ExamineLoad(std::vector<double>{1, 1, 1, 0}, 4);
const RouterHealth kOtherDead = ExamineLoad(std::vector<double>{0, 1, 1, 1}, 4);
const RouterHealth kCollapsed = ExamineLoad(std::vector<double>{97, 1, 1, 1}, 4);

TEST(RouterAlarm, SpeaksOnceOfWhatLasts) {
  RouterAlarm alarm(3);
  for (int i = 0; i < 2; ++i) EXPECT_THAT(alarm.Watch(kOneDead), IsEmpty());
  EXPECT_THAT(alarm.Watch(kOneDead),
              ElementsAre(AllOf(HasSubstr("layer 0: expert 3 "), HasSubstr("for 3 steps"))));
  for (int i = 0; i < 9; ++i) EXPECT_THAT(alarm.Watch(kOneDead), IsEmpty());
  EXPECT_THAT(alarm.Watch(kWell), IsEmpty());
  for (int i = 0; i < 2; ++i) EXPECT_THAT(alarm.Watch(kOneDead), IsEmpty());
  EXPECT_EQ(alarm.Watch(kOneDead).size(), 1u);
}

TEST(RouterAlarm, WaitsForEachExpertsOwnPatience) {
  RouterAlarm alarm(3);
  alarm.Watch(kOneDead);
  alarm.Watch(kOneDead);
  EXPECT_THAT(alarm.Watch(kOtherDead), IsEmpty());
  EXPECT_THAT(alarm.Watch(kOtherDead), IsEmpty());
  EXPECT_THAT(alarm.Watch(kOtherDead), ElementsAre(HasSubstr("expert 0 ")));
  RouterAlarm second(3);
  second.Watch(kTwoDead);
  second.Watch(kTwoDead);
  EXPECT_THAT(second.Watch(kOneDead), ElementsAre(HasSubstr("expert 3 ")));  // dead all along
}

TEST(RouterAlarm, NamesALayerThatCollapsed) {
  RouterAlarm alarm(2);
  EXPECT_THAT(alarm.Watch(kCollapsed), IsEmpty());
  EXPECT_THAT(alarm.Watch(kCollapsed), ElementsAre(HasSubstr("layer 0: the router has collapsed")));
}

}  // namespace
}  // namespace cadre
