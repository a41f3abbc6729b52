#include "eval/judge_prompt.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cadre {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

TEST(JudgePrompt, ShowsOneTurnWithoutAndWithAReference) {
  const JudgePrompt plain = MakeJudgePrompt({"Why?"}, {"So."}, {});
  EXPECT_EQ(plain.system, "You are a helpful assistant.");
  EXPECT_THAT(plain.user, StartsWith("[Instruction]\nPlease act as an impartial judge and"));
  EXPECT_THAT(plain.user, HasSubstr("displayed below. Your evaluation should consider factors"));
  EXPECT_THAT(plain.user,
              EndsWith("\"Rating: [[5]]\".\n\n[Question]\nWhy?\n\n[The Start of Assistant's "
                       "Answer]\nSo.\n[The End of Assistant's Answer]"));
  const JudgePrompt compared = MakeJudgePrompt({"Why?", "And?"}, {"So."}, {"Because.", "Then."});
  EXPECT_THAT(compared.user, HasSubstr("below. Your evaluation should consider correctness and"));
  EXPECT_THAT(compared.user, HasSubstr("[Question]\nWhy?\n\n[The Start of Reference Answer]\n"
                                       "Because.\n[The End of Reference Answer]\n\n[The Start of "
                                       "Assistant's Answer]\nSo.\n"));
}

TEST(JudgePrompt, ShowsTwoTurnsAsAConversation) {
  const JudgePrompt plain = MakeJudgePrompt({"Why?", "And?"}, {"So.", "Thus."}, {});
  EXPECT_THAT(plain.system, HasSubstr("question displayed below. Your evaluation should consider "
                                      "factors"));
  EXPECT_THAT(plain.system, HasSubstr("answer to the second user question. Begin your"));
  EXPECT_THAT(plain.system, EndsWith("\"Rating: [[5]]\".\n\n"));
  EXPECT_EQ(plain.user,
            "<|The Start of Assistant A's Conversation with User|>\n\n### User:\nWhy?\n\n"
            "### Assistant A:\nSo.\n\n### User:\nAnd?\n\n### Assistant A:\nThus.\n\n"
            "<|The End of Assistant A's Conversation with User|>");
  const JudgePrompt compared =
      MakeJudgePrompt({"Why?", "And?"}, {"So.", "Thus."}, {"Because.", "Then."});
  EXPECT_THAT(compared.system, HasSubstr("user question. Your evaluation should consider "
                                         "correctness"));
  EXPECT_THAT(compared.system, HasSubstr("answer to the second question. Begin your"));
  EXPECT_THAT(compared.user, StartsWith("<|The Start of Reference Answer|>\n\n### User:\nWhy?\n\n"
                                        "### Reference answer:\nBecause.\n\n"));
  EXPECT_THAT(compared.user, HasSubstr("<|The End of Reference Answer|>\n\n\n<|The Start of "));
}

TEST(ParseRating, PrefersDoubleBrackets) {
  EXPECT_EQ(ParseRating("Good [1]. Rating: [[7]]"), 7);
  EXPECT_EQ(ParseRating("[[8.5]] or [[3]]"), 8.5);
  EXPECT_EQ(ParseRating("[[rating]] then [6]"), 6);
  EXPECT_EQ(ParseRating("[[7/10]]"), std::nullopt);
  EXPECT_EQ(ParseRating("seven"), std::nullopt);
  EXPECT_EQ(ParseRating("[["), std::nullopt);
}

}  // namespace
}  // namespace cadre
