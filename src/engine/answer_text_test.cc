#include "engine/answer_text.h"

#include <gtest/gtest.h>

#include "engine/test_model.h"

namespace cadre {
namespace {

using testing_model::SmallVocabulary;

class AnswerTextTest : public testing::Test {
 protected:
  std::vector<int32_t> Ids(const std::string& text) { return tokenizer_.Encode(text); }

  Tokenizer tokenizer_{SmallVocabulary(), "test"};
};

TEST_F(AnswerTextTest, CountsATokenWhenAllItsTextIsOut) {
  AnswerText text(tokenizer_, LeadingSpace::kStrip, {"cat"});
  const auto ids = Ids("abcab");
  std::string shown;
  int64_t tokens = 0;
  for (const int32_t id : ids) {
    const auto now = text.Push(id);
    shown += now.text;
    tokens += now.tokens;
    EXPECT_LE(std::ssize(shown), text.decoded_bytes());
  }
  EXPECT_EQ(shown, "abcab");
  EXPECT_EQ(tokens, std::ssize(ids));
}

TEST_F(AnswerTextTest, WhatMayBecomeAStopStringIsNeitherShownNorCounted) {
  AnswerText text(tokenizer_, LeadingSpace::kStrip, {"bcd"});
  const auto ids = Ids("abcx");
  EXPECT_EQ(text.Push(ids[0]).tokens, 1);
  EXPECT_EQ(text.Push(ids[1]).tokens, 0);
  EXPECT_EQ(text.Push(ids[2]).tokens, 0);
  const auto now = text.Push(ids[3]);
  EXPECT_EQ(now.text, "bcx");
  EXPECT_EQ(now.tokens, 3);
}

TEST_F(AnswerTextTest, TokensOfTheStopStringAreNotCounted) {
  AnswerText text(tokenizer_, LeadingSpace::kStrip, {"bcd"});
  int64_t tokens = 0;
  std::string shown;
  for (const int32_t id : Ids("abcd")) {
    const auto now = text.Push(id);
    tokens += now.tokens;
    shown += now.text;
  }
  EXPECT_TRUE(text.stopped());
  tokens += text.Finish().tokens;
  EXPECT_EQ(shown, "a");
  EXPECT_EQ(tokens, 1);
}

TEST_F(AnswerTextTest, BytesOfOneCharacterAreCountedWithTheLast) {
  AnswerText text(tokenizer_, LeadingSpace::kStrip, {});
  const int32_t first_byte = 3;  // of the small vocabulary's bytes
  EXPECT_EQ(text.Push(first_byte + 0xc3).tokens, 0);
  const auto now = text.Push(first_byte + 0xa9);
  EXPECT_EQ(now.text, "\u00e9");
  EXPECT_EQ(now.tokens, 2);
  text.Push(first_byte + 0xe2);
  const auto rest = text.Finish();
  EXPECT_EQ(rest.text, "\ufffd");
  EXPECT_EQ(rest.tokens, 1);
}

TEST_F(AnswerTextTest, AStopStringCountsOnlyWhereItMayStop) {
  AnswerText text(tokenizer_, LeadingSpace::kStrip, {"b"});
  const auto ids = Ids("abab");
  EXPECT_EQ(text.Push(ids[0], false).text, "a");
  EXPECT_EQ(text.Push(ids[1], false).text, "b");
  text.Push(ids[2]);
  EXPECT_FALSE(text.stopped());
  text.Push(ids[3]);
  EXPECT_TRUE(text.stopped());
}

}  // namespace
}  // namespace cadre
