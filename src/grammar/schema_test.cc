// What the keywords of JSON Schema come to, one by one, and what is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/json.h"
#include "grammar/compile.h"
#include "grammar/schema_values.h"
#include "grammar/testing.h"

namespace cadre {
namespace {

using testing::CompileSchema;
using testing::IsAnswer;
using testing::SmallTrie;

struct SchemaCase {
  const char* schema;
  std::vector<const char*> taken;
  std::vector<const char*> refused;
};

const std::vector<SchemaCase>& SchemaCases() {
  static const std::vector<SchemaCase> cases = {
      // Types.
      {R"({})", {"1", "null", "[1, \"a\"]", "{}"}, {"", "nul", "1 "}},
      {R"(true)", {"{\"a\":[]}"}, {"[,]"}},
      {R"({"type":["integer","null"]})", {"-12", "0", "null"}, {"1.0", "true", "01", "--1"}},
      {R"({"type":"string","nullable":true})", {"null", "\"\""}, {"0"}},
      {R"({"type":"number"})", {"-0.5", "1e9", "1234567890123456789"}, {"1e999", ".5"}},
      // Values.
      {R"({"enum":["a\"b",1,null,{"x":[1,2]},"é"]})",
       {"\"a\\\"b\"", "1", "null", R"({"x": [1, 2]})", R"({"x":[1,2]})", "\"é\""},
       {"2", "\"a\"", "\"\\u00e9\""}},
      {R"({"const":"on"})", {"\"on\""}, {"\"off\""}},
      {R"({"enum":["a","bb",3],"type":"string","minLength":2})", {"\"bb\""}, {"\"a\"", "3"}},
      // Strings.
      {R"({"type":"string","minLength":2,"maxLength":3})",
       {"\"ab\"", "\"éé🙂\"", R"("\n\ud83d\ude42")"},
       {"\"a\"", "\"abcd\"", R"("\ud83d\ude42")"}},
      {R"({"type":"string","pattern":"^[a-c]+$"})", {"\"abc\""}, {"\"\"", "\"abd\""}},
      {R"({"type":"string","pattern":"b.d"})", {"\"abcde\""}, {"\"bd\"", "\"b\\nd\""}},
      {R"({"type":"string","pattern":"^\\w+$","maxLength":2})", {"\"ab\""}, {"\"abc\"", "\"\""}},
      {R"({"type":"string","pattern":"^[\"\\\\\n]$"})",
       {R"("\"")", R"("\\")", R"("\n")"},
       {"\"a\""}},
      {R"({"type":"string","format":"date"})",
       {"\"2024-02-29\"", "\"2000-02-29\"", "\"1999-12-31\""},
       {"\"2023-02-29\"", "\"1900-02-29\"", "\"2024-13-01\"", "\"0000-01-01\"", "\"2024-04-31\""}},
      {R"({"type":"string","format":"date-time"})",
       {"\"2024-02-29T23:59:59Z\"", "\"2024-01-01T00:00:00.123+01:00\""},
       {"\"2024-02-29\"", "\"2024-01-01T24:00:00Z\""}},
      {R"({"type":"string","format":"ipv4"})", {"\"255.0.10.1\""}, {"\"256.0.0.1\"", "\"1.2.3\""}},
      {R"({"type":"string","format":"ipv6"})",
       {"\"::\"", "\"::1\"", "\"1:2:3:4:5:6:7:8\"", "\"fe80::1:2\"", "\"1:2:3:4:5:6:7::\""},
       {"\"1::2::3\"", "\"1:2:3:4:5:6:7\"", "\"12345::\""}},
      {R"({"type":"string","format":"uuid"})",
       {"\"123e4567-e89b-12d3-a456-426614174000\""},
       {"\"123e4567e89b12d3a456426614174000\""}},
      {R"({"type":"string","format":"email"})", {"\"a.b+c@example.com\""}, {"\"a@\"", "\"@b\""}},
      {R"({"type":"string","format":"uri"})", {"\"https://a.b/c?d=e#f\""}, {"\"a b\"", "\"/x\""}},
      // Numbers.
      {R"({"type":"integer","minimum":-3,"maximum":12})",
       {"-3", "0", "9", "10", "12"},
       {"-4", "13", "-10", "-0", "100"}},
      {R"({"type":"integer","exclusiveMinimum":7})", {"8", "10", "700"}, {"7", "0", "-8", "1"}},
      {R"({"type":"number","minimum":0.5,"exclusiveMaximum":2})",
       {"0.5", "1", "1.99", "0.50"},
       {"0.49", "2", "2.0", "0", "-1", "5e-1"}},
      {R"({"type":"number","maximum":-1.25})",
       {"-1.25", "-2", "-1.250001", "-10"},
       {"-1.2", "1", "-0"}},
      {R"({"type":"number","minimum":0})", {"0", "0.0", "-0", "123.4"}, {"-0.1", "-1"}},
      {R"({"type":"integer","multipleOf":7})", {"0", "7", "-14", "700"}, {"1", "15"}},
      {R"({"type":"number","multipleOf":0.05})", {"0.05", "1", "1.5", "-0.15"}, {"0.01", "0.055"}},
      {R"({"type":"integer","format":"int32"})", {"2147483647", "-2147483648"}, {"2147483648"}},
      {R"({"minimum":5})", {"5", "\"a\"", "null"}, {"4"}},
      // Arrays.
      {R"({"type":"array","items":{"type":"integer"},"minItems":1,"maxItems":3})",
       {"[1]", "[1, 2,3]"},
       {"[]", "[1,2,3,4]", "[1,]", "[\"a\"]"}},
      {R"({"type":"array","prefixItems":[{"type":"integer"},{"type":"string"}],"items":false})",
       {"[]", "[1]", "[1,\"a\"]"},
       {"[\"a\"]", "[1,\"a\",2]"}},
      {R"({"type":"array","items":[{"type":"integer"}],"additionalItems":{"type":"null"}})",
       {"[]", "[1,null,null]"},
       {"[1,2]"}},
      {R"({"type":"array","maxItems":0})", {"[]"}, {"[1]"}},
      {R"({"type":"array","minItems":2})", {"[1,[]]"}, {"[1]"}},
      // Objects.
      {R"({"type":"object","properties":{"a":{"type":"integer"}}})",
       {"{}", "{\"a\":1}", R"({"a":1,"b":"x","\n":[]})", R"({"aa":1})"},
       {R"({"a":"x"})", R"({"b":1,"a":1})", R"({"\u0061":"x"})"}},
      {R"({"type":"object","additionalProperties":{"type":"integer"}})",
       {"{}", R"({"x": 1, "y": 2})"},
       {R"({"x":"y"})"}},
      {R"({"type":"object","required":["z"],"properties":{"a":{"type":"null"}}})",
       {R"({"z":[]})", R"({"a":null,"z":1,"k":0})"},
       {"{}", R"({"a":null})"}},
      {R"({"type":"object","patternProperties":{"^n":{"type":"integer"}},"additionalProperties":false})",
       {"{}", R"({"n":1,"name":2})"},
       {R"({"n":"a"})", R"({"x":1})"}},
      {R"({"type":"object","patternProperties":{"^n":{"type":"integer"}},"properties":{"no":{"minimum":3}}})",
       {R"({"no":3})", R"({"x":"y"})"},
       {R"({"no":2})", R"({"no":"y"})", R"({"na":"y"})"}},
      {R"({"type":"object","propertyNames":{"pattern":"^[a-z]+$"},"properties":{"A":{}}})",
       {R"({"ab":1})"},
       {R"({"A":1})", R"({"a1":1})"}},
      {R"({"type":"object","properties":{"a":{},"b":{},"c":{}},"minProperties":1,"maxProperties":2,
          "additionalProperties":false})",
       {R"({"a":1})", R"({"b":1,"c":1})", R"({"a":1,"c":1})"},
       {"{}", R"({"a":1,"b":1,"c":1})"}},
      {R"({"type":"object","minProperties":1,"maxProperties":2})",
       {R"({"x":1})", R"({"x":1,"y":1})"},
       {"{}", R"({"x":1,"y":1,"z":1})"}},
      // Combinations.
      {R"({"anyOf":[{"type":"string","maxLength":1},{"type":"integer"}]})",
       {"\"a\"", "12"},
       {"\"ab\"", "null"}},
      {R"({"type":"object","properties":{"a":{"type":"integer"}},"required":["a"],
          "anyOf":[{"properties":{"b":{"const":1}},"required":["b"]},{"required":["c"]}]})",
       {R"({"a":1,"b":1})", R"({"a":1,"c":null})"},
       {R"({"a":1})", R"({"a":1,"b":2})"}},
      {R"({"oneOf":[{"type":"object","properties":{"kind":{"const":"cat"},"n":{"type":"integer"}},
          "required":["kind","n"]},{"type":"object","properties":{"kind":{"enum":["dog"]}},
          "required":["kind"]},{"type":"null"}]})",
       {R"({"kind":"cat","n":1})", R"({"kind":"dog","n":"x"})", "null"},
       {R"({"kind":"cat"})", R"({"kind":"cow"})"}},
      {R"({"allOf":[{"properties":{"a":{"type":"integer"}},"required":["a"]},
          {"properties":{"a":{"minimum":3},"b":{"type":"null"}}}],"type":"object"})",
       {R"({"a":3,"b":null})", R"({"a":10})"},
       {R"({"a":2})", R"({"b":null})"}},
      // References.
      {R"({"$ref":"#/$defs/node","$defs":{"node":{"type":"object","properties":{"next":
          {"anyOf":[{"$ref":"#/$defs/node"},{"type":"null"}]}},"required":["next"],
          "additionalProperties":false}}})",
       {R"({"next":null})", R"({"next": {"next": {"next": null}}})"},
       {"{}", R"({"next":1})"}},
      {R"({"type":"array","items":{"$ref":"#"},"maxItems":2})",
       {"[]", "[[], [[]]]"},
       {"[1]", "[[],[],[]]"}},
      {R"({"properties":{"a":{"$ref":"#/definitions/x~1y"}},"definitions":{"x/y":{"type":"null"}},
          "type":"object","additionalProperties":false,"title":"T","x-order":1})",
       {R"({"a":null})"},
       {R"({"a":1})"}},
  };
  return cases;
}

TEST(CompileJsonSchema, HoldsAnswersToEveryKeyword) {
  const auto trie = SmallTrie();
  for (const SchemaCase& one : SchemaCases()) {
    const auto constraint = CompileSchema(one.schema, trie);
    for (const char* text : one.taken) {
      EXPECT_TRUE(IsAnswer(*constraint, text)) << one.schema << "\nmust take " << text;
    }
    for (const char* text : one.refused) {
      EXPECT_FALSE(IsAnswer(*constraint, text)) << one.schema << "\nmust not take " << text;
    }
  }
}

// What the values check, which the compiler itself uses for lists, says of the same cases.
TEST(SchemaValues, AgreeWithTheGrammar) {
  CompileBudget budget;
  for (const SchemaCase& one : SchemaCases()) {
    const OrderedJson schema = ParseOrderedJson(one.schema, "schema");
    const SchemaDocument document(schema, budget);
    SchemaTexts texts(budget);
    SchemaValues values(document, texts, budget);
    for (const char* text : one.taken) {
      const OrderedJson value = ParseOrderedJson(text, "answer");
      EXPECT_TRUE(values.Satisfies(value, schema)) << one.schema << "\n" << text;
    }
  }
}

TEST(CompileJsonSchema, RefusesWhatItCannotEnforceAndNamesIt) {
  const std::vector<std::pair<const char*, const char*>> refused = {
      {R"({"properties":{"a":{"not":{}}}})", "#/properties/a/not"},
      {R"({"if":{},"then":{}})", "#/if"},
      {R"({"type":"array","uniqueItems":true})", "#/uniqueItems"},
      {R"({"type":"array","contains":{}})", "#/contains"},
      {R"({"dependentRequired":{}})", "#/dependentRequired"},
      {R"({"unevaluatedProperties":false})", "#/unevaluatedProperties"},
      {R"({"minLenght":3})", "#/minLenght"},
      {R"({"items":{"type":"strin"}})", "#/items/type"},
      {R"({"type":"string","format":"phone"})", "#/format"},
      {R"({"type":"string","pattern":"(?=a)b"})", "#/pattern"},
      {R"({"type":"string","pattern":"(a)\\1"})", "#/pattern"},
      {R"({"oneOf":[{"type":"integer"},{"type":"number"}]})", "#/oneOf"},
      {R"({"oneOf":[{"properties":{"a":{"const":1}}},{"properties":{"a":{"const":2}}}]})",
       "#/oneOf"},
      {R"({"$ref":"http://x/y"})", "#/$ref"},
      {R"({"$ref":"#/nowhere"})", "#/$ref"},
      {R"({"type":"object","minProperties":2})", "#/minProperties"},
      {R"({"minimum":"1"})", "#/minimum"},
      {R"({"maxItems":-1})", "#/maxItems"},
      {R"({"a":1})", "#/a"},
      {R"({"anyOf":[]})", "#/anyOf"},
      {R"({"properties":{"a":7}})", "#/properties/a"},
      {R"({"multipleOf":0.123456789012})", "#/multipleOf"},
      {R"({"type":"string","minLength":1e12})", "#/minLength"},
      {R"({"patternProperties":{"(":{}}})", "#/patternProperties"},
      {R"({"anyOf":[{"type":"null"},{"$ref":"#"}]})", "#/anyOf/1/$ref"},
      {R"([])", "#"},
  };
  for (const auto& [schema, place] : refused) {
    try {
      CompileSchema(schema, SmallTrie());
      ADD_FAILURE() << schema;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), ::testing::HasSubstr(std::string("schema: ") + place + " "))
          << schema;
    }
  }
}

TEST(CompileJsonSchema, RefusesWhatNothingCanSatisfy) {
  for (const char* schema :
       {R"(false)", R"({"type":"integer","minimum":3,"maximum":2})",
        R"({"allOf":[{"type":"string"},{"type":"null"}]})", R"({"enum":[1],"type":"string"})",
        R"({"type":"object","required":["a"],"additionalProperties":false})",
        R"({"type":"object","properties":{"a":{"$ref":"#"}},"required":["a"]})",
        R"({"type":"string","minLength":3,"maxLength":2})", R"({"$ref":"#"})",
        R"({"anyOf":[{"$ref":"#"}]})", R"({"type":"string","pattern":"^a$","minLength":2})"}) {
    EXPECT_THROW(CompileSchema(schema, SmallTrie()), Error) << schema;
  }
}

TEST(CompileJsonSchema, EndsInAnErrorWhereTheBudgetIsSpent) {
  std::string wide = R"({"type":"string","pattern":"(a|b)*a(a|b){30}"})";
  EXPECT_THROW(CompileSchema(wide, SmallTrie()), Error);
  std::string branches;
  for (int i = 0; i < 12; ++i) {
    branches += std::string(i > 0 ? "," : "") +
                R"({"anyOf":[{"minimum":1},{"minimum":2},{"minimum":3},{"minimum":4}]})";
  }
  EXPECT_THROW(CompileSchema("{\"allOf\":[" + branches + "]}", SmallTrie()), Error);
  EXPECT_THROW(CompileSchema(R"({"type":"integer","multipleOf":99999989})", SmallTrie()), Error);
  // Counts are no states.
  CompileSchema(R"({"type":"string","minLength":1000000,"maxLength":2000000000})", SmallTrie());
  CompileSchema(R"({"type":"array","minItems":1000000})", SmallTrie());
}

TEST(CompileToolCalls, TakesCallsOfTheToolsOnly) {
  const OrderedJson weather = ParseOrderedJson(
      R"({"type":"object","properties":{"city":{"type":"string"}},"required":["city"],
          "additionalProperties":false})",
      "tool");
  const std::vector<ToolSignature> tools = {{"weather", &weather}, {"now", nullptr}};
  const auto two = CompileToolCalls(tools, 2, SmallTrie());
  const std::string call = R"({"name": "weather", "arguments": {"city": "Paris"}})";
  const std::string now = R"({"name":"now","arguments":{}})";
  EXPECT_TRUE(IsAnswer(*two, "[" + call + "]"));
  EXPECT_TRUE(IsAnswer(*two, "[" + call + ", " + now + "]"));
  EXPECT_FALSE(IsAnswer(*two, "[" + call + ", " + now + "," + now + "]"));
  EXPECT_FALSE(IsAnswer(*two, "[]"));
  EXPECT_FALSE(IsAnswer(*two, R"([{"name":"now","arguments":{"city":"Paris"}}])"));
  EXPECT_FALSE(IsAnswer(*two, R"([{"name":"other","arguments":{}}])"));
  const auto one = CompileToolCalls(tools, 1, SmallTrie());
  EXPECT_TRUE(IsAnswer(*one, "[" + now + "]"));
  EXPECT_FALSE(IsAnswer(*one, "[" + now + ", " + call + "]"));
  const OrderedJson bad = {{"not", 1}};
  const std::vector<ToolSignature> refused = {{"broken", &bad}};
  EXPECT_THROW(CompileToolCalls(refused, 1, SmallTrie()), Error);
}

}  // namespace
}  // namespace cadre
