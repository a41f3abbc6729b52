#include "eval/tasks/sentiment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "base/testing.h"

namespace cadre {
namespace {

using base_testing::ErrorOf;
using base_testing::TempFolder;
using ::testing::HasSubstr;

// Words of the published lexicon with their ratings; the expected scores are those of
// vaderSentiment (commit of 3.3.2 and later) with its whole lexicon.
constexpr const char* kLexicon =
    ":)\t2.0\t1.18322\t[2, 2]\n:d\t2.3\nbad\t-2.5\ndeath\t-2.9\n"
    "doubt\t-1.5\nfunny\t1.9\ngood\t1.9\ngreat\t3.1\n"
    "handsome\t2.2\nhorrible\t-2.5\nkiss\t1.8\nlol\t1.8\n"
    "no\t-1.2\nproblems\t-1.7\nshit\t-2.6\nsmart\t1.7\n"
    "sure\t1.3\nsux\t-1.5\nuncompelling\t-0.9\n";

class SentimentTest : public ::testing::Test {
 protected:
  std::string Write(const std::string& text) {
    const std::string path = folder_ / "lexicon.txt";
    std::ofstream(path) << text;
    return path;
  }
  TempFolder folder_;
};

TEST_F(SentimentTest, ScoresAsTheAuthorsProgramDoes) {
  const SentimentLexicon lexicon(Write(kLexicon));
  const std::pair<const char*, double> cases[] = {
      {"VADER is smart, handsome, and funny.", 0.8316},
      {"VADER is VERY SMART, uber handsome, and FRIGGIN FUNNY!!!", 0.9469},
      {"VADER is not smart, handsome, nor funny.", -0.7424},
      {"At least it isn't a horrible book.", 0.431},
      {"The plot was good, but the characters are uncompelling and the dialog is not great.",
       -0.7042},
      {"Today only kinda sux! But I'll get by, lol", 0.5249},
      {"Make sure you :) or :D today!", 0.8633},
      {"Not bad at all", 0.431},
      {"It was never so good, without doubt great", 0.8979},
      {"He is the least good man?? Really??", -0.5213},
      {"the shit was sort of good and a kiss of death", -0.1761},
      {"No problems or good, no great", -0.5334},
      {"", 0}};
  for (const auto& [text, compound] : cases)
    EXPECT_NEAR(lexicon.Compound(text), compound, 1e-9) << text;
}

TEST_F(SentimentTest, ALineThatIsNoRatingIsNamed) {
  EXPECT_THAT(ErrorOf([&] { SentimentLexicon(Write("good\t1.9\nbad\n")); }),
              HasSubstr("lexicon.txt:2: must be a word, a tab and a rating"));
  EXPECT_THAT(ErrorOf([&] { SentimentLexicon(Write("")); }), HasSubstr("holds no word"));
}

}  // namespace
}  // namespace cadre
