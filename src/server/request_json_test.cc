#include "server/request_json.h"

#include <gtest/gtest.h>

#include "base/clock.h"
#include "server/testing.h"

namespace cadre {
namespace {

using testing_server::Fault;

std::string FaultOf(const std::string& body) {
  return Fault([&] { ParseRequestJson(body); });
}

std::string Repeated(const std::string& text, size_t times) {
  std::string all;
  for (size_t i = 0; i < times; ++i) all += text;
  return all;
}

TEST(RequestJson, ReadsAnObject) { EXPECT_EQ(ParseRequestJson(R"({"a": [1, "x"]})")["a"][1], "x"); }

TEST(RequestJson, RefusesWhatIsNoJson) {
  for (const char* body :
       {"", "{", "nonsense", "{\"a\":1}x", "{'a':1}", "\xff", "{\"a\":\"\xff\"}"})
    EXPECT_EQ(FaultOf(body), "400") << body;
  EXPECT_EQ(FaultOf(std::string("{}\0", 3)), "400");
}

TEST(RequestJson, RefusesWhatIsNoObject) {
  for (const char* body : {"[]", "1", "\"text\"", "null", "true"})
    EXPECT_EQ(FaultOf(body), "422 model_attributes_type") << body;
}

TEST(RequestJson, RefusesAKeyThatOccursTwice) { EXPECT_EQ(FaultOf(R"({"a":1,"a":2})"), "400"); }

TEST(RequestJson, MakesLoneSurrogatesReplacementCharacters) {
  const auto text = [](const std::string& escapes) {
    return ParseRequestJson("{\"a\":\"" + escapes + "\"}")["a"].get<std::string>();
  };
  EXPECT_EQ(text("\\ud83d"), "\xEF\xBF\xBD");
  EXPECT_EQ(text("x\\uDE42y"), "x\xEF\xBF\xBDy");
  EXPECT_EQ(text("\\ud83d\\ud83d\\ude42"), "\xEF\xBF\xBD\xF0\x9F\x99\x82");
  EXPECT_EQ(text("\\ud83d\\n"), "\xEF\xBF\xBD\n");
  EXPECT_EQ(text("\\ud83d\\ude42"), "\xF0\x9F\x99\x82");
  EXPECT_EQ(text("\\\\ud83d"), "\\ud83d");
  EXPECT_EQ(text("\\u00e9"), "\xC3\xA9");
}

TEST(RequestJson, RefusesNestingThatIsTooDeep) {
  EXPECT_EQ(FaultOf("{\"a\":" + Repeated("[", 62) + Repeated("]", 62) + "}"), "none");
  EXPECT_EQ(FaultOf("{\"a\":" + Repeated("[", 70) + Repeated("]", 70) + "}"), "400");
  EXPECT_EQ(FaultOf("{\"a\":" + Repeated("[", 1000000)), "400");
}

TEST(RequestJson, RefusesManySmallValuesBeforeTheyAreBuilt) {
  EXPECT_EQ(FaultOf("{\"a\":[" + Repeated("[],", 3000000) + "0]}"), "400");
}

TEST(RequestJson, RefusesAnObjectOfMillionsOfKeysInNoTime) {
  std::string body = "{";
  for (int i = 0; i < 500000; ++i) body += fmt::format("\"{}\":0,", i);
  const Stopwatch watch;
  EXPECT_EQ(FaultOf(body + "\"z\":0}"), "400");
  EXPECT_LT(watch.Seconds(), 5);
}

}  // namespace
}  // namespace cadre
