#include "text/python_json.h"

#include <gtest/gtest.h>

namespace cadre {
namespace {

TEST(PythonJson, SpellsAsPythonDoes) {
  // json.dumps(json.loads(left), ensure_ascii=False) == right, taken from Python 3.11.
  const std::pair<const char*, const char*> cases[] = {
      {R"({"b":1,"a":[true,false,null]})", R"({"b": 1, "a": [true, false, null]})"},
      {" [ 1 , 2 ]\n", "[1, 2]"},
      {"{}", "{}"},
      {"[]", "[]"},
      {"22", "22"},
      {"-0", "0"},
      {"-0.0", "-0.0"},
      {"1.0", "1.0"},
      {"1.50", "1.5"},
      {"1E5", "100000.0"},
      {"1e16", "1e+16"},
      {"1e15", "1000000000000000.0"},
      {"123456789.125", "123456789.125"},
      {"0.0001", "0.0001"},
      {"0.00001", "1e-05"},
      {"1e-7", "1e-07"},
      {"1e300", "1e+300"},
      {"123456789012345678901234567890", "123456789012345678901234567890"},
      {R"("a\/b\u00e9\ud83d\ude42\u0001\u007f")", "\"a/b\xC3\xA9\xF0\x9F\x99\x82\\u0001\x7f\""},
      {R"("x:y, [z] \" \\ \n\t\r\b\f")", R"("x:y, [z] \" \\ \n\t\r\b\f")"},
      {R"({"k , :":"v"})", R"({"k , :": "v"})"},
  };
  for (const auto& [json, expected] : cases) EXPECT_EQ(PythonJson(json), expected) << json;
}

TEST(PythonJson, IsNothingForWhatIsNotOneValue) {
  for (const char* text : {"", " ", "hello", "{", "[1,]", "1 2", "NaN", "'a'", "{\"a\":1,\"a\":2}",
                           "\"\xff\"", "01", "\xEF\xBB\xBF{}", "\"\\ud800\""}) {
    EXPECT_FALSE(PythonJson(text).has_value()) << text;
  }
  EXPECT_FALSE(PythonJson(std::string(100000, '[')).has_value());
}

}  // namespace
}  // namespace cadre
