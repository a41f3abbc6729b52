#include "eval/tasks/text_score.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "eval/tasks/number_answer.h"
#include "eval/tasks/readers.h"

namespace cadre {
namespace {

using ::testing::ElementsAre;

EvalItem Item(const char* task, const char* json) {
  const Json line = Json::parse(json);
  const std::string name = "d.jsonl:3";
  return FindTask(task).read(Fields(line, name));
}

double Value(const TextScore& score, const std::string& name) {
  for (const auto& value : score.values) {
    if (value.name == name) return value.value;
  }
  ADD_FAILURE() << "no " << name;
  return -1;
}

TEST(Majority, IsTheAnswerOfMostAndOfEqualOnesTheFirst) {
  EXPECT_EQ(Majority({"a", "b", "b"}), "b");
  EXPECT_EQ(Majority({"a", "b", "b", "a"}), "a");
  EXPECT_EQ(Majority({std::nullopt, std::nullopt, "c"}), "c");
  EXPECT_EQ(Majority({std::nullopt}), std::nullopt);
}

TEST(ScoreAnswers, CountsEachTextAndTheVote) {
  const AnswerRule whole = {"", [](const std::string& text) -> std::optional<std::string> {
                              if (text == "?") return std::nullopt;
                              return text;
                            }};
  const auto is_right = [](const std::string& answer) { return answer == "7"; };
  const TextScore four = ScoreAnswers({"7", "8", "7", "?"}, {whole}, is_right);
  EXPECT_THAT(four.answers, ElementsAre("7", "8", "7", ""));
  EXPECT_EQ(Value(four, "exact_match"), 0.5);
  EXPECT_EQ(Value(four, "maj@4"), 1);
  const TextScore one = ScoreAnswers({"?"}, {whole}, is_right);
  EXPECT_EQ(one.values.size(), 1u);
  EXPECT_EQ(Value(one, "exact_match"), 0);
}

TEST(MarkedNumber, IsTheFirstBehindTheMark) {
  EXPECT_EQ(MarkedNumber("so 3\n#### 1,234.5 and #### 7"), "1,234.5");
  EXPECT_EQ(MarkedNumber("#### -18"), "-18");
  EXPECT_EQ(MarkedNumber("#### none\n#### 5."), "5.");
  EXPECT_EQ(MarkedNumber("#### $5"), std::nullopt);
  EXPECT_EQ(MarkedNumber("####5"), std::nullopt);
  EXPECT_EQ(MarkedNumber(""), std::nullopt);
}

TEST(LastNumber, IsWhatTheRegularExpressionFindsLast) {
  EXPECT_EQ(LastNumber("He has 3 apples, or $1,200."), "$1,200.");
  EXPECT_EQ(LastNumber("it is 7"), "7");
  EXPECT_EQ(LastNumber("-5 degrees"), "-5");
  EXPECT_EQ(LastNumber("10-5"), "-5");
  EXPECT_EQ(LastNumber("costs -$40 now."), "-$40");
  EXPECT_EQ(LastNumber("5 and then..."), "...");
  EXPECT_EQ(LastNumber("no. none, - at all"), std::nullopt);
}

TEST(ComparableNumber, DropsMarksCommasAndAFullStop) {
  EXPECT_EQ(ComparableNumber("Long reasoning, 3.\n#### 1,234"), "1234");
  EXPECT_EQ(ComparableNumber("$1,200."), "1200");
  EXPECT_EQ(ComparableNumber("..."), "..");
  EXPECT_EQ(ComparableNumber("3.50"), "3.50");
}

TEST(Gsm8k, IsAskedAndScoredAsInTheHarness) {
  const EvalItem item = Item("gsm8k", R"({"question": "How many?",
      "answer": "2 * 9 = <<2*9=18>>18\n#### 1,018"})");
  EXPECT_THAT(item.contexts, ElementsAre("Question: How many?\nAnswer:"));
  EXPECT_EQ(item.example, "Question: How many?\nAnswer: 2 * 9 = <<2*9=18>>18\n#### 1,018");
  EXPECT_THAT(item.answers, ElementsAre("1018"));
  const TextScore marked = ScoreGsm8k(item, {" It is 5.\n#### 1018"});
  EXPECT_EQ(Value(marked, "exact_match"), 1);
  EXPECT_EQ(Value(marked, "exact_match_flexible"), 1);
  const TextScore spoken = ScoreGsm8k(item, {" The answer is $1,018."});
  EXPECT_EQ(Value(spoken, "exact_match"), 0);
  EXPECT_EQ(Value(spoken, "exact_match_flexible"), 1);
  EXPECT_THAT(spoken.answers, ElementsAre("1018"));
  const TextScore vote =
      ScoreGsm8k(item, {"#### 7", "#### 1018.", "none", "#### $3", "#### 1,018"});
  EXPECT_EQ(Value(vote, "maj@5"), 1);
  EXPECT_EQ(Value(vote, "exact_match"), 0.4);
}

TEST(TriviaQa, IsTheSameItemInAllItsForms) {
  for (
      const char* json :
      {R"({"context": "Question: Who was he?\nAnswer:", "answer": "Bo", "aliases": ["Bo", "B. O."]})",
       R"({"QuestionId": "q", "Question": "Who was he?", "Answer": {"Aliases": ["Bo", "B. O."]}})",
       R"({"question_id": "q", "question": "Who was he?", "answer": {"aliases": ["Bo", "B. O."]}})"}) {
    const EvalItem item = Item("triviaqa", json);
    EXPECT_THAT(item.contexts, ElementsAre("Question: Who was he??\nAnswer:"));
    EXPECT_EQ(item.example, "Question: Who was he??\nAnswer: Bo");
    EXPECT_THAT(item.answers, ElementsAre("Bo", "B. O."));
  }
}

TEST(TriviaQa, TakesAnyAliasWithoutCaseAndPunctuation) {
  const EvalItem item =
      Item("triviaqa", R"({"question": "q", "answer": {"aliases": ["Élan", "The \"B.O.\""]}})");
  const auto is_right = [&](const char* text) {
    return Value(ScoreTriviaQa(item, {text}), "exact_match") == 1;
  };
  EXPECT_TRUE(is_right(" élan"));
  EXPECT_TRUE(is_right("  THE BO "));
  EXPECT_FALSE(is_right(" an élan"));
  EXPECT_FALSE(is_right(""));
}

}  // namespace
}  // namespace cadre
