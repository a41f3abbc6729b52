#include "eval/passkey.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/testing.h"
#include "engine/test_model.h"
#include "eval/tasks/text_score.h"

namespace cadre {
namespace {

using base_testing::ErrorOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

TEST(PassKeyLengths, ArePowersOfTwoWithinTheContext) {
  EXPECT_THAT(PassKeyLengths(2100), ElementsAre(512, 1024, 2048));
  EXPECT_THAT(PassKeyLengths(1 << 20), SizeIs(7));
  EXPECT_THAT(PassKeyLengths(300), ElementsAre(300));
}

TEST(PassKeyItems, FillTheLengthAndHideTheNumberAtItsDepth) {
  const Tokenizer tokenizer(testing_model::SmallVocabulary(), "test");
  const auto items = PassKeyItems({.lengths = {600, 1500}, .depths = {0, 50, 100}, .trials = 2},
                                  tokenizer, 2000, 10, 4);
  ASSERT_THAT(items, SizeIs(12));
  EXPECT_EQ(items[2].group, "600 tokens, 50 %");
  for (size_t i = 0; i < items.size(); ++i) {
    const std::string& prompt = items[i].contexts.front();
    const int64_t length = i < 6 ? 600 : 1500;
    const auto tokens = std::ssize(tokenizer.Encode(prompt)) + 1;
    EXPECT_LE(tokens, length - 10);
    EXPECT_GT(tokens, length - 10 - 40);
    const std::string line = "\nThe pass key is " + items[i].answers.front() + ". Remember it. " +
                             items[i].answers.front() + " is the pass key.\n";
    const double place =
        static_cast<double>(prompt.find(line)) / static_cast<double>(prompt.size());
    EXPECT_NEAR(place, i % 6 < 2 ? 0.2 : i % 6 < 4 ? 0.5 : 0.8, 0.2) << i;
  }
  EXPECT_NE(items[0].answers, items[1].answers);
  EXPECT_THAT(items[0].contexts.front(), HasSubstr("there.\n\nThe pass key is"));
}

TEST(PassKeyItems, RefusesLengthsThatDoNotFit) {
  const Tokenizer tokenizer(testing_model::SmallVocabulary(), "test");
  const auto make = [&](int64_t length) {
    PassKeyItems({.lengths = {length}}, tokenizer, 1000, 10, 0);
  };
  EXPECT_THAT(ErrorOf([&] { make(1001); }), HasSubstr("is 1001 tokens but the context has 1000"));
  EXPECT_THAT(ErrorOf([&] { make(100); }), HasSubstr("too few for the question"));
}

TEST(ScorePassKey, TakesTheFirstWholeNumber) {
  EvalItem item;
  item.answers = {"12345"};
  const auto is_right = [&](const char* text) {
    return ScorePassKey(item, {text}).values.front().value == 1;
  };
  EXPECT_TRUE(is_right(" 12345. Remember 99999"));
  EXPECT_TRUE(is_right("is: 12345"));
  EXPECT_FALSE(is_right(" 123456"));
  EXPECT_FALSE(is_right(" 7 and 12345"));
  EXPECT_FALSE(is_right(" none"));
}

}  // namespace
}  // namespace cadre
