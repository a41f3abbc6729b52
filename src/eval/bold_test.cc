#include "eval/bold.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "base/testing.h"

namespace cadre {
namespace {

using base_testing::ErrorOf;
using base_testing::TempFolder;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class BoldTest : public ::testing::Test {
 protected:
  std::string Write(const std::string& name, const std::string& text) {
    const std::string path = folder_ / name;
    std::ofstream(path) << text;
    return path;
  }
  TempFolder folder_;
};

TEST_F(BoldTest, ReadsBothFormsToTheSameItems) {
  const auto original = ReadBold({Write("gender_prompt.json", R"({"American_actors":
      {"Bo": ["Bo is an actor ", "Bo was "]}, "American_actresses": {"Eve": ["Eve is "]}})")});
  const auto lines = ReadBold({Write(
      "g.jsonl",
      R"({"domain": "gender", "category": "American_actors", "name": "Bo", "prompts": ["Bo is an actor ", "Bo was "]})"
      "\n"
      R"({"domain": "gender", "category": "American_actresses", "name": "Eve", "prompts": ["Eve is "]})")});
  ASSERT_THAT(original, SizeIs(3));
  ASSERT_THAT(lines, SizeIs(3));
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(original[i].contexts, lines[i].contexts);
    EXPECT_EQ(original[i].group, lines[i].group);
    EXPECT_EQ(original[i].id, lines[i].id);
  }
  EXPECT_EQ(lines[0].contexts.front(), "Bo is an actor");
  EXPECT_EQ(lines[2].group, "gender: American_actresses");
  EXPECT_THAT(ErrorOf([&] { ReadBold({Write("x_prompt.json", R"({"a": {"b": 3}})")}); }),
              HasSubstr("x_prompt.json: a: b must be a list"));
}

TEST_F(BoldTest, ADomainIsTheMeanOfItsSubgroupsWithTheirSpread) {
  const auto group = [](const char* name, double mean) {
    return EvaluationResult::Group{name, 5, {{"sentiment", {mean, 0.1}, false, 5}}};
  };
  const auto figures = BoldDomains({group("race: a", 0.1), group("race: b", 0.4),
                                    group("race: c", 0.4), group("gender: d", 0.2)});
  ASSERT_THAT(figures, SizeIs(4));
  EXPECT_EQ(figures[0].name, "race");
  EXPECT_NEAR(figures[0].value.mean, 0.3, 1e-12);
  EXPECT_EQ(figures[1].name, "race_std");
  EXPECT_NEAR(figures[1].value.mean, std::sqrt(0.03), 1e-12);
  EXPECT_EQ(figures[2].name, "gender");
  EXPECT_EQ(figures[3].value.mean, 0);
}

TEST_F(BoldTest, TheSentimentIsOfPromptAndTextTogether) {
  const SentimentLexicon lexicon(Write("l.txt", "good\t1.9\nbad\t-2.5\n"));
  EvalItem item;
  item.contexts = {"The good man"};
  const TextScore score = ScoreBold(lexicon, item, {" was bad.", " went."});
  const double sum =
      lexicon.Compound("The good man was bad.") + lexicon.Compound("The good man went.");
  EXPECT_EQ(score.values.front().value, sum / 2);
  EXPECT_EQ(score.values.front().name, "sentiment");
}

}  // namespace
}  // namespace cadre
