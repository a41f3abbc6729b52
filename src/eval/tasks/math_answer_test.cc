#include "eval/tasks/math_answer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "eval/tasks/math_number.h"
#include "eval/tasks/readers.h"
#include "eval/tasks/text_score.h"

namespace cadre {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST(FinalAnswer, StandsBetweenTheWordsOfTheExamples) {
  EXPECT_EQ(FinalAnswer("So.\nFinal Answer: The final answer is $[2,5)$. I hope it is correct."),
            "$[2,5)$");
  EXPECT_EQ(FinalAnswer("Final Answer: The final answer is $3$. "), "$3$");
  EXPECT_EQ(FinalAnswer("Final Answer: The final answer is $3$."), std::nullopt);
  EXPECT_EQ(FinalAnswer("Final Answer: The final answer is\n3. I hope it is correct."),
            std::nullopt);
  EXPECT_EQ(FinalAnswer("Final Answer: The final answer is 3. I hope it is correct.\n\n"
                        "Final Answer: The final answer is 4. I hope it is correct."),
            "3");
  EXPECT_EQ(FinalAnswer("The final answer is 3."), std::nullopt);
}

TEST(LastBoxed, FollowsTheBraces) {
  EXPECT_EQ(LastBoxed("$\\boxed{1}$ or $\\boxed{\\frac{1}{2}}$."), "\\frac{1}{2}");
  EXPECT_EQ(LastBoxed("$\\boxed 7$ it is"), "7");
  EXPECT_EQ(LastBoxed("\\fbox{9}"), "9");
  EXPECT_EQ(LastBoxed("\\boxed{open"), std::nullopt);
  EXPECT_EQ(LastBoxed("\\boxed"), std::nullopt);
  EXPECT_EQ(LastBoxed("none"), std::nullopt);
}

TEST(NormalMathAnswer, DropsWordsUnitsAndDollarSigns) {
  EXPECT_EQ(NormalMathAnswer("x = $5$"), "5");
  EXPECT_EQ(NormalMathAnswer("the value is $\\frac12$ here"), "\\frac{1}{2}");
  EXPECT_EQ(NormalMathAnswer("12\\text{ cm}"), "12");
  EXPECT_EQ(NormalMathAnswer("\\$1,200"), "1200");
  EXPECT_EQ(NormalMathAnswer("(1,2)"), "(1,2)");
  EXPECT_EQ(NormalMathAnswer("1,234,567"), "1234567");
  EXPECT_EQ(NormalMathAnswer("90^\\circ"), "90");
  EXPECT_EQ(NormalMathAnswer("\\text{Evelyn}"), "Evelyn");
  EXPECT_EQ(NormalMathAnswer("\\sqrt2"), "\\sqrt{2}");
  EXPECT_EQ(NormalMathAnswer("\\boxed{\\frac{a}{b}}"), "\\frac{a}{b}");
  EXPECT_EQ(NormalMathAnswer("\\frac1π"), "\\frac{1}{π}");
}

TEST(StrippedMathAnswer, TakesTheAuthorsSteps) {
  EXPECT_EQ(StrippedMathAnswer("\\left(\\dfrac12\\right)"), "(\\frac{1}{2})");
  EXPECT_EQ(StrippedMathAnswer("\\frac1{72}"), "\\frac{1}{72}");
  EXPECT_EQ(StrippedMathAnswer("k = .5"), "\\frac{1}{2}");
  EXPECT_EQ(StrippedMathAnswer("3/4"), "\\frac{3}{4}");
  EXPECT_EQ(StrippedMathAnswer("03/4"), "03/4");
  EXPECT_EQ(StrippedMathAnswer("x/y"), std::nullopt);
  EXPECT_EQ(StrippedMathAnswer("5 \\text{ apples}"), "5");
  EXPECT_EQ(StrippedMathAnswer("50\\%"), "50");
  EXPECT_EQ(StrippedMathAnswer("\\sqrt 3"), "\\sqrt{}3");
  EXPECT_EQ(StrippedMathAnswer("\\sqrt"), std::nullopt);
  EXPECT_EQ(StrippedMathAnswer(""), "");
}

TEST(IsSameMathAnswer, ComparesTextsAndNumbers) {
  EXPECT_TRUE(IsSameMathAnswer("\\frac{1}{2}", "0.5"));
  EXPECT_TRUE(IsSameMathAnswer("\\frac{2}{4}", "1/2"));
  EXPECT_TRUE(IsSameMathAnswer("-0.25", "-\\frac{1}{4}"));
  EXPECT_TRUE(IsSameMathAnswer("2.50", "2.5"));
  EXPECT_TRUE(IsSameMathAnswer("\\dfrac{x}{2}", "\\frac{x}{2}"));
  EXPECT_TRUE(IsSameMathAnswer("x/y", "x/y"));
  EXPECT_FALSE(IsSameMathAnswer("3", "-3"));
  EXPECT_FALSE(IsSameMathAnswer("\\frac{1}{3}", "0.333"));
  EXPECT_FALSE(IsSameMathAnswer("", "0"));
}

TEST(ParseMathNumber, RefusesWhatIsNoNumber) {
  for (const char* text : {"", "-", ".", "1.2.3", "1/0", "\\frac{1}{}", "\\frac{1}", "x", "1e5",
                           "1234567890123456", "\\frac{1}{2}{3}", "--1"})
    EXPECT_EQ(ParseMathNumber(text), std::nullopt) << text;
  EXPECT_EQ(ParseMathNumber("-\\frac{-6}{4}"), (Fraction{3, 2}));
}

TEST(Math, IsAskedBehindFourExamples) {
  const Json line = Json::parse(R"({"problem": "What is $1+1$?", "type": "Algebra",
      "solution": "It is $\\boxed{2}$.", "level": "Level 1"})");
  const std::string name = "d.jsonl:3";
  const EvalItem item = ReadMath(Fields(line, name));
  EXPECT_THAT(item.description,
              StartsWith("Problem:\nFind the domain of the expression  $\\frac{"));
  EXPECT_THAT(item.description, EndsWith("is $-\\frac{2}{3}$. I hope it is correct.\n\n"));
  EXPECT_EQ(item.contexts.front(), "Problem:\nWhat is $1+1$?\n\nSolution:");
  EXPECT_EQ(item.group, "Algebra");
  const TextScore final = ScoreMath(
      item,
      {" Two.\nFinal Answer: The final answer is $x=2$. I hope it is correct.", "\\boxed{2}"});
  ASSERT_EQ(final.values.size(), 4u);
  EXPECT_EQ(final.values[0].value, 0.5);
  EXPECT_EQ(final.values[1].name, "exact_match_flexible");
  EXPECT_EQ(final.values[1].value, 1);
  EXPECT_EQ(final.values[2].name, "maj@2");
  EXPECT_EQ(final.values[2].value, 1);
}

}  // namespace
}  // namespace cadre
