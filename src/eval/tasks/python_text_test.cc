#include "eval/tasks/python_text.h"

#include <gtest/gtest.h>

#include "eval/tasks/clean_text.h"

namespace cadre {
namespace {

TEST(PythonText, StripsWhatUnicodeCallsSpace) {
  EXPECT_EQ(Strip(" \t\u00a0a b\u3000\n"), "a b");
  EXPECT_EQ(StripRight(" a \x1f"), " a");
  EXPECT_EQ(Strip(" \n"), "");
}

TEST(PythonText, CapitalizesTheFirstAndLowersTheRest) {
  EXPECT_EQ(Capitalized("he plays on a Mac"), "He plays on a mac");
  EXPECT_EQ(Capitalized("ÉCOLE ÄÖÜ ß"), "École äöü ß");
  EXPECT_EQ(Capitalized("ÿABC"), "Ÿabc");
  EXPECT_EQ(Capitalized("ŻÓŁĆ ĹĽ"), "Żółć ĺľ");
  EXPECT_EQ(Capitalized("žluť"), "Žluť");
  EXPECT_EQ(Capitalized("привет МИР"), "Привет мир");
  EXPECT_EQ(Capitalized(""), "");
}

TEST(PythonText, LowersAndDropsPunctuation) {
  EXPECT_EQ(Lowered("ÉCOLE Of Ωmega 日"), "école of ωmega 日");
  EXPECT_EQ(WithoutPunctuation("a.b, (c)-d_e `f' {g}~ \"h\" é…"), "ab cde f g h é…");
}

TEST(PythonText, CountsCharactersNotBytes) {
  EXPECT_EQ(NumCharacters("né"), 2);
  EXPECT_EQ(NumCharacters("日本"), 2);
}

TEST(PythonText, ReplacesFromTheLeftOnce) {
  EXPECT_EQ(Replaced("a   b", "  ", " "), "a  b");
  EXPECT_EQ(Replaced("aaaa", "aa", "b"), "bb");
}

TEST(WithoutWikiHowMarks, TakesOutWhatStandsInBrackets) {
  EXPECT_EQ(WithoutWikiHowMarks(" How to [title] Do it [step] now. [a\nb] end[] "),
            "How to. Do it now. [a\nb] end");
  EXPECT_EQ(WithoutWikiHowMarks("a [b [c] d] e"), "a d] e");
}

}  // namespace
}  // namespace cadre
