#include "align/preference_data.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "align/held_back.h"

namespace cadre {
namespace {

using ::testing::ElementsAre;

// Tokens 1, 2, ... of which the first `prompt` are not learnt.
Sample Numbered(int prompt, int answer, int first_answer = 100) {
  Sample sample;
  for (int i = 0; i < prompt; ++i) sample.tokens.push_back(1 + i);
  for (int i = 0; i < answer; ++i) sample.tokens.push_back(first_answer + i);
  sample.trained.assign(static_cast<size_t>(prompt), 0);
  sample.trained.resize(static_cast<size_t>(prompt + answer), 1);
  return sample;
}

TEST(FitPair, LeavesAPairThatFits) {
  Pair pair{Numbered(3, 2), Numbered(3, 3, 200)};
  EXPECT_EQ(FitPair(pair, {.max_tokens = 6, .max_prompt_tokens = 2}), Fit::kWhole);
  EXPECT_EQ(pair.chosen.tokens.size(), 5u);
}

TEST(FitPair, CutsPromptsFirst) {
  Pair pair{Numbered(6, 2), Numbered(6, 1, 200)};
  EXPECT_EQ(FitPair(pair, {.max_tokens = 7, .max_prompt_tokens = 4}), Fit::kCut);
  EXPECT_THAT(pair.chosen.tokens, ElementsAre(1, 4, 5, 6, 100, 101));
  EXPECT_THAT(pair.chosen.trained, ElementsAre(0, 0, 0, 0, 1, 1));
  EXPECT_THAT(pair.rejected.tokens, ElementsAre(1, 4, 5, 6, 200));
  Pair start{Numbered(6, 2), Numbered(6, 1, 200)};
  FitPair(start,
          {.max_tokens = 7, .max_prompt_tokens = 4, .long_prompt = PairLimits::Prompt::kKeepStart});
  EXPECT_THAT(start.chosen.tokens, ElementsAre(1, 2, 3, 4, 100, 101));
}

TEST(FitPair, CutsAnswersToWhatIsLeft) {
  Pair pair{Numbered(6, 9), Numbered(6, 1, 200)};
  EXPECT_EQ(FitPair(pair, {.max_tokens = 7, .max_prompt_tokens = 4}), Fit::kCut);
  EXPECT_THAT(pair.chosen.tokens, ElementsAre(1, 4, 5, 6, 100, 101, 102));
  EXPECT_THAT(pair.rejected.tokens, ElementsAre(1, 4, 5, 6, 200));
}

TEST(FitPair, DropsWhatCannotBeTold) {
  Pair same{Numbered(2, 9), Numbered(2, 10)};
  EXPECT_EQ(FitPair(same, {.max_tokens = 6, .max_prompt_tokens = 3}), Fit::kUnusable);
  Pair empty{Numbered(2, 0), Numbered(2, 1)};
  EXPECT_EQ(FitPair(empty, {}), Fit::kUnusable);
  Pair long_prompt{Numbered(9, 2), Numbered(9, 1)};
  EXPECT_EQ(FitPair(long_prompt, {.max_tokens = 8,
                                  .max_prompt_tokens = 4,
                                  .long_prompt = PairLimits::Prompt::kDropPair}),
            Fit::kUnusable);
}

TEST(HashPairs, TellsWhatIsLearntToo) {
  const Pair pair{Numbered(2, 3), Numbered(2, 2)};
  Pair other = pair;
  const auto hash = [](const Pair& p) { return HashPairs({&p}); };
  EXPECT_EQ(hash(pair), hash(other));
  other.rejected.trained[2] = 0;
  EXPECT_NE(hash(pair), hash(other));
}

TEST(IsHeldBack, TakesItsShareOfPromptsAndAlwaysTheSame) {
  int held = 0;
  for (int32_t i = 0; i < 10'000; ++i) {
    const int32_t prompt[] = {1, i};
    const bool is_held = IsHeldBack(prompt, 0.2);
    held += is_held;
    EXPECT_EQ(is_held, IsHeldBack(prompt, 0.2));
    EXPECT_TRUE(!is_held || IsHeldBack(prompt, 0.3));
    EXPECT_FALSE(IsHeldBack(prompt, 0));
  }
  EXPECT_NEAR(held, 2000, 4 * 40);
}

}  // namespace
}  // namespace cadre
