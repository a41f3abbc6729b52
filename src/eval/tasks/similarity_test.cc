#include "eval/tasks/similarity.h"

#include <gtest/gtest.h>

namespace cadre {
namespace {

// Expected values: sacrebleu 2.6.0 (tokenize intl, smooth exp, no effective order) and rouge_score
// 0.1.2 (" . " made a line end first), as lm-evaluation-harness calls them.
struct Case {
  const char* text;
  const char* reference;
  double bleu;
  Rouge rouge;
};
constexpr Case kCases[] = {
    {"The cat sat on the mat.", "The cat sat on the mat.", 100, {100, 100, 100}},
    {"\nA: Nothing happens if you eat seeds.",
     "Nothing happens.",
     10.55267,
     {44.444444, 28.571429, 44.444444}},
    {"The watermelon seeds pass through the body, slowly.",
     "The watermelon seeds pass through your digestive system.",
     41.113362,
     {62.5, 57.142857, 62.5}},
    {"one two", "one two", 0, {100, 100, 100}},
    {"completely other words here", "Nothing at all is the same.", 0, {0, 0, 0}},
    {"It costs $3.50 (or 2,000 yen) – “not” much.",
     "It costs $3.50, or 2,000 yen – much.",
     27.225894,
     {94.736842, 82.352941, 94.736842}},
    {"I go there . You stay here . I go",
     "I go . You stay . We go",
     21.36435,
     {71.428571, 33.333333, 71.428571}},
    {"", "Nothing happens.", 0, {0, 0, 0}},
    {"Élan vital, naïve café!",
     "élan vital, naive café!",
     22.957488,
     {66.666667, 28.571429, 66.666667}}};

TEST(Bleu, IsThatOfSacrebleu) {
  for (const Case& c : kCases) EXPECT_NEAR(Bleu(c.text, c.reference), c.bleu, 1e-5) << c.text;
}

TEST(Rouge, IsThatOfRougeScore) {
  for (const Case& c : kCases) {
    const Rouge rouge = RougeOf(c.text, c.reference);
    EXPECT_NEAR(rouge.one, c.rouge.one, 1e-5) << c.text;
    EXPECT_NEAR(rouge.two, c.rouge.two, 1e-5) << c.text;
    EXPECT_NEAR(rouge.l_sum, c.rouge.l_sum, 1e-5) << c.text;
  }
}

TEST(InternationalWords, SplitsPunctuationAndSymbolsButNotWithinNumbers) {
  std::string words;
  for (const auto& word :
       InternationalWords("It costs $3.50 (or 2,000 yen) – “not” much... it's 5% a.b x+y 7! "))
    words += word + "|";
  EXPECT_EQ(words,
            "It|costs|$|3.50|(|or|2,000|yen|)|–|“|not|”|much|.|.|.|it|'|s|5|%|a|.|b|x|+|y|7!|");
}

}  // namespace
}  // namespace cadre
