#include "grammar/compile.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "grammar/grammar.h"
#include "grammar/testing.h"

namespace cadre {
namespace {

using testing::CompileSchema;
using ::testing::HasSubstr;
using testing::IsAnswer;
using testing::SmallTrie;
using ::testing::ThrowsMessage;

bool SchemaTakes(std::string_view schema, std::string_view text) {
  return IsAnswer(*CompileSchema(schema, SmallTrie()), text);
}

bool RegexTakes(std::string_view pattern, std::string_view text) {
  return IsAnswer(*CompileRegex(pattern, SmallTrie()), text);
}

TEST(CompileJson, TakesAnyObjectAndNothingElse) {
  const auto json = CompileJson(SmallTrie());
  for (const char* text :
       {"{}", R"({"a":1})", R"({"a": -0.5e+10, "b": [1,2, [], {}], "é": "\ud83d\ude00\n"})",
        R"({"":null,"":true,"x":false})"}) {
    EXPECT_TRUE(IsAnswer(*json, text)) << text;
  }
  for (const char* text : {"",
                           "[]",
                           "1",
                           "{",
                           " {}",
                           "{ }",
                           "{\"a\":  1}",
                           "{\"a\" :1}",
                           "{\"a\":1,}",
                           "{\"a\":01}",
                           "{\"a\":1.}",
                           "{\"a\":+1}",
                           "{\"a\":\"\t\"}",
                           "{}\n",
                           R"({"a":"\ud83d"})",
                           R"({"a":"\ude00"})",
                           R"({"a":"\x"})",
                           "{\"a\":\"\xFF\"}",
                           "{\"a\":\"\xC0\x80\"}",
                           "{\"a\":\"\xED\xA0\x80\"}"}) {
    EXPECT_FALSE(IsAnswer(*json, text)) << text;
  }
}

TEST(CompileJson, NestsToItsLimitAndCanAlwaysEnd) {
  const auto json = CompileJson(SmallTrie());
  std::string open;
  std::string close;
  for (int depth = 0; depth < Grammar::kMaxNesting; ++depth) {
    open += depth == 0 ? "{\"a\":" : "[";
    close.insert(0, depth == 0 ? "}" : "]");
  }
  EXPECT_TRUE(IsAnswer(*json, open + close));
  EXPECT_FALSE(IsAnswer(*json, open + "[]" + close));
}

TEST(CompileJsonSchema, KeepsTheOrderOfPropertiesAndSkipsOptionalOnes) {
  const char* schema = R"({"type":"object","properties":{"b":{"type":"integer"},
      "a":{"type":"string"},"c":{"type":"boolean"}},"required":["b"],"additionalProperties":false})";
  EXPECT_TRUE(SchemaTakes(schema, R"({"b":1})"));
  EXPECT_TRUE(SchemaTakes(schema, R"({"b": 1, "a": "x", "c": true})"));
  EXPECT_TRUE(SchemaTakes(schema, R"({"b":1,"c":true})"));
  EXPECT_FALSE(SchemaTakes(schema, R"({"a":"x","b":1})"));
  EXPECT_FALSE(SchemaTakes(schema, R"({"a":"x"})"));
  EXPECT_FALSE(SchemaTakes(schema, R"({"b":1,"d":1})"));
  EXPECT_FALSE(SchemaTakes(schema, R"({"b":1.5})"));
  EXPECT_FALSE(SchemaTakes(schema, R"({"b":1,"b":1})"));
}

TEST(CompileRegex, MatchesTheWholeText) {
  EXPECT_TRUE(RegexTakes("ab+c?", "abbb"));
  EXPECT_FALSE(RegexTakes("ab+c?", "xab"));
  EXPECT_TRUE(RegexTakes("^(yes|no)$", "no"));
  EXPECT_FALSE(RegexTakes("^(yes|no)$", "nope"));
  EXPECT_TRUE(RegexTakes("[à-ü]{2,3}", "éé"));
  EXPECT_FALSE(RegexTakes("[à-ü]{2,3}", "é"));
}

}  // namespace
}  // namespace cadre
