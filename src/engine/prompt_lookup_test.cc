#include "engine/prompt_lookup.h"

#include <gtest/gtest.h>

namespace cadre {
namespace {

std::vector<int32_t> Draft(const std::vector<int32_t>& ids, int64_t max_tokens) {
  const auto draft = LookUpDraft(ids, max_tokens);
  return {draft.begin(), draft.end()};
}

TEST(LookUpDraft, GivesWhatFollowedTheSameEndingEarlier) {
  EXPECT_EQ(Draft({5, 1, 2, 3, 4, 9, 1, 2}, 3), (std::vector<int32_t>{3, 4, 9}));
  EXPECT_EQ(Draft({5, 1, 2, 3, 4, 9, 1, 2}, 1), (std::vector<int32_t>{3}));
  EXPECT_EQ(Draft({1, 2, 3, 7, 8, 2, 3, 9, 1, 2, 3}, 2), (std::vector<int32_t>{7, 8}));  // longer
  EXPECT_EQ(Draft({2, 3, 7, 2, 3, 8, 2, 3}, 1), (std::vector<int32_t>{8}));              // latest
}

TEST(LookUpDraft, GivesNothingWhereNothingIsAlike) {
  EXPECT_TRUE(Draft({}, 4).empty());
  EXPECT_TRUE(Draft({1}, 4).empty());
  EXPECT_TRUE(Draft({1, 2, 3, 4}, 4).empty());
  EXPECT_TRUE(Draft({7, 1, 8, 1}, 4).empty());  // one token is too little
  EXPECT_TRUE(Draft({1, 2, 1, 2}, 0).empty());
}

TEST(LookUpDraft, GoesOnThroughARepetition) {
  EXPECT_EQ(Draft({1, 1, 1, 1}, 3), (std::vector<int32_t>{1}));
}

TEST(BestDraft, DraftsWhileRowsAreCheapAndGuessesAreRight) {
  StepTimes times;
  EXPECT_EQ(BestDraft(times, 0, 0.9, 8), 0);  // nothing is known
  times.Add(1, 1.0);
  EXPECT_EQ(BestDraft(times, 0, 0.9, 8), 1);  // so it is tried
  times.Add(2, 1.05);
  times.Add(9, 1.4);
  EXPECT_EQ(BestDraft(times, 0, 0.95, 8), 8);
  EXPECT_LT(BestDraft(times, 0, 0.3, 8), 3);
  EXPECT_EQ(BestDraft(times, 0, 0.01, 8), 0);
}

TEST(BestDraft, DoesNotDraftWhereARowCostsAsMuchAsAStep) {
  StepTimes times;
  times.Add(1, 1.0);
  times.Add(2, 2.0);
  EXPECT_EQ(BestDraft(times, 0, 0.9, 8), 0);
}

TEST(DraftRecord, LearnsHowOftenGuessesAreRight) {
  DraftRecord good, bad;
  for (int i = 0; i < 20; ++i) {
    good.Add(4, 4);
    bad.Add(4, 0);
  }
  EXPECT_GT(good.acceptance(), 0.95);
  EXPECT_LT(bad.acceptance(), 0.1);
  EXPECT_FALSE(bad.IsDue());
  for (int i = 0; i < 40; ++i) bad.Skip();
  EXPECT_TRUE(bad.IsDue());
}

TEST(StepTimes, LiesBetweenWhatWasMeasured) {
  StepTimes times;
  times.Add(1, 1.0);
  times.Add(5, 3.0);
  EXPECT_DOUBLE_EQ(times.Predict(3), 2.0);
  EXPECT_DOUBLE_EQ(times.Predict(7), 4.0);
  EXPECT_DOUBLE_EQ(times.Predict(1), 1.0);
}

}  // namespace
}  // namespace cadre
