#include "eval/prompt.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/testing.h"
#include "engine/test_model.h"

namespace cadre {
namespace {

using base_testing::ErrorOf;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

class PromptEncoderTest : public ::testing::Test {
 protected:
  PromptEncoderTest() : tokenizer_(testing_model::SmallVocabulary(), "test") {}

  static EvalItem Item(std::string context, std::string continuation) {
    EvalItem item;
    item.contexts = {std::move(context)};
    item.answers = {continuation};
    item.continuations = {std::move(continuation)};
    return item;
  }
  LikelihoodRequest Encode(const EvalItem& item, const std::string& before = "",
                           int64_t context = 1000) {
    return PromptEncoder(tokenizer_, context).Encode(item, before).requests.front();
  }
  std::vector<int32_t> WithBos(const std::string& text) const {
    std::vector<int32_t> ids = {tokenizer_.bos_id()};
    for (const int32_t id : tokenizer_.Encode(text)) ids.push_back(id);
    return ids;
  }
  Tokenizer tokenizer_;
};

TEST_F(PromptEncoderTest, BeginsWithBosOnceAndDividesTheWhole) {
  const auto request = Encode(Item("the end", " of it"), "before ");
  EXPECT_THAT(request.ids, ElementsAreArray(WithBos("before the end of it")));
  EXPECT_EQ(request.num_given, std::ssize(WithBos("before the end")));
}

TEST_F(PromptEncoderTest, CountsSpaceAtTheEndOfTheContextToTheContinuation) {
  const auto request = Encode(Item("answer \n ", "b"));
  EXPECT_THAT(request.ids, ElementsAreArray(WithBos("answer \n b")));
  EXPECT_EQ(request.num_given, std::ssize(WithBos("answer")));
}

TEST_F(PromptEncoderTest, CutsTheBeginningOfWhatIsTooLong) {
  const PromptEncoder encoder(tokenizer_, 6);
  const auto encoded = encoder.Encode(Item("a b c d e f", " g h"), "");
  const auto whole = WithBos("a b c d e f g h");
  ASSERT_EQ(whole.size(), 9u);
  EXPECT_TRUE(encoded.is_cut);
  // The last id is asked for and not run.
  EXPECT_THAT(encoded.requests[0].ids, ElementsAreArray(whole.begin() + 2, whole.end()));
  EXPECT_EQ(encoded.requests[0].num_given, 5);
  EXPECT_FALSE(PromptEncoder(tokenizer_, 8).Encode(Item("a b c d e f", " g h"), "").is_cut);
}

TEST_F(PromptEncoderTest, RefusesWhatLeavesNothingToAsk) {
  EXPECT_THAT(ErrorOf([&] { Encode(Item("a", " b c d"), "", 2); }),
              HasSubstr("' b c d' has 3 tokens but the context has 2"));
}

TEST_F(PromptEncoderTest, ARequestForEachContextOrContinuation) {
  EvalItem item = Item("a", " b");
  item.contexts.push_back("c");
  const auto encoded = PromptEncoder(tokenizer_, 100).Encode(item, "");
  ASSERT_EQ(encoded.requests.size(), 2u);
  EXPECT_THAT(encoded.requests[1].ids, ElementsAreArray(WithBos("c b")));
}

}  // namespace
}  // namespace cadre
