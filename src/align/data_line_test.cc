#include "align/data_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "align/message_json.h"
#include "base/error.h"
#include "base/testing.h"

namespace cadre {
namespace {

using base_testing::ErrorOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

DataLine Line(const char* json, StringsAs strings = StringsAs::kChat) {
  return ParseInstructionLine(OrderedJson::parse(json), strings, "d.jsonl:3");
}

PreferenceLine PairOf(const char* json, StringsAs strings = StringsAs::kChat) {
  return ParsePreferenceLine(OrderedJson::parse(json), strings, "d.jsonl:3");
}

// "u:text a:answer A:learnt"
std::vector<std::string> Shown(const std::vector<Message>& messages) {
  std::vector<std::string> shown;
  for (const Message& m : messages) {
    std::string role = m.role == Role::kUser ? "u" : m.role == Role::kSystem ? "s" : "t";
    if (m.role == Role::kAssistant) role = m.trained ? "A" : "a";
    shown.push_back(role + ":" + m.content);
  }
  return shown;
}

TEST(ParseInstructionLine, ReadsMessagesInAllTheirShapes) {
  for (const char* json :
       {R"({"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]})",
        R"({"interactions":[{"role":"user","text":"q"},{"role":"assistant","text":"a"}], "id": 7})",
        R"({"conversations":[{"from":"human","value":"q"},{"from":"gpt","value":"a"}]})",
        R"({"messages":[{"role":"user","content":[{"type":"text","text":"q"}]},
            {"role":"assistant","content":"a","weight":1}]})"}) {
    EXPECT_THAT(Shown(Line(json).messages), ElementsAre("u:q", "A:a")) << json;
  }
}

TEST(ParseInstructionLine, LearnsNothingOfWeightZero) {
  const DataLine line = Line(
      R"({"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a","weight":0},
          {"role":"user","content":"r"},{"role":"assistant","content":"b"}]})");
  EXPECT_THAT(Shown(line.messages), ElementsAre("u:q", "a:a", "u:r", "A:b"));
}

TEST(ParseInstructionLine, LearnsCompletionsNotPrompts) {
  EXPECT_THAT(Shown(Line(R"({"prompt":"q","completion":"a"})").messages),
              ElementsAre("u:q", "A:a"));
  EXPECT_THAT(
      Shown(Line(R"({"prompt":[{"role":"system","content":"s"},{"role":"user","content":"q"},
                             {"role":"assistant","content":"a"},{"role":"user","content":"r"}],
                             "completion":[{"role":"assistant","content":"b"}]})")
                .messages),
      ElementsAre("s:s", "u:q", "a:a", "u:r", "A:b"));
}

TEST(ParseInstructionLine, JoinsInstructionAndInput) {
  for (const char* json : {R"({"instruction":"do","input":"this","output":"done"})",
                           R"({"instruction":"do","context":"this","response":"done"})",
                           R"({"instruction":"do","input":"this","completion":"done"})"}) {
    EXPECT_THAT(Shown(Line(json).messages), ElementsAre("u:do\n\nthis", "A:done")) << json;
  }
  EXPECT_THAT(Shown(Line(R"({"instruction":"do","input":"","output":"done"})").messages),
              ElementsAre("u:do", "A:done"));
}

TEST(ParseInstructionLine, KeepsPlainTextPlain) {
  EXPECT_EQ(Line(R"({"text":"once"})").text, "once");
  const DataLine pair = Line(R"({"prompt":"2 + 2 =","completion":" 4"})", StringsAs::kPlain);
  EXPECT_EQ(pair.prompt, "2 + 2 =");
  EXPECT_EQ(pair.text, " 4");
  EXPECT_TRUE(pair.messages.empty());
}

TEST(ParseInstructionLine, LearnsOnlyWhatWasSaidWithTheToolsInSight) {
  const DataLine line = Line(
      R"({"tools":[{"type":"function","function":{"name":"f","description":"d",
                    "parameters":{"type":"object"}}}],
          "messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"},
          {"role":"user","content":"r"},
          {"role":"assistant","tool_calls":[{"id":"123456789","type":"function",
              "function":{"name":"f","arguments":{"x":1}}}]},
          {"role":"tool","tool_call_id":"123456789","content":"7"},
          {"role":"assistant","content":"b"}]})");
  EXPECT_THAT(Shown(line.messages), ElementsAre("u:q", "a:a", "u:r", "A:", "t:7", "A:b"));
  ASSERT_EQ(line.tools.size(), 1u);
  EXPECT_EQ(line.tools[0].name, "f");
  EXPECT_EQ(line.messages[3].tool_calls[0].arguments, R"({"x":1})");
  EXPECT_EQ(line.messages[4].name, "f");
}

TEST(ParseInstructionLine, NamesLineAndMemberOfWhatIsWrong) {
  const auto error = [](const char* json) { return ErrorOf([&] { Line(json); }); };
  EXPECT_THAT(error("[1]"), HasSubstr("d.jsonl:3: is [1] but must be an object"));
  EXPECT_THAT(error(R"({"prompt":"q"})"), HasSubstr("d.jsonl:3: has none of \"messages\""));
  EXPECT_THAT(error(R"({"messages":[]})"), HasSubstr("messages is empty"));
  EXPECT_THAT(error(R"({"messages":"q"})"), HasSubstr("messages is \"q\" but must be a list"));
  EXPECT_THAT(error(R"({"messages":[{"role":"boss","content":"q"}]})"),
              HasSubstr("messages[0].role is 'boss' but must be system, user, assistant or tool"));
  EXPECT_THAT(error(R"({"messages":[{"content":"q"}]})"), HasSubstr("messages[0] has no \"role\""));
  EXPECT_THAT(error(R"({"messages":[{"role":"user","content":"q","text":"q"}]})"),
              HasSubstr("has both \"content\" and \"text\""));
  EXPECT_THAT(error(R"({"messages":[{"role":"user","content":5}]})"),
              HasSubstr("messages[0].content is 5 but must be a string"));
  EXPECT_THAT(error(R"({"messages":[{"role":"assistant","content":"a","weight":0.5}]})"),
              HasSubstr("messages[0].weight is 0.5 but must be 0 or 1"));
  EXPECT_THAT(error(R"({"messages":[{"role":"user","content":[{"type":"image"}]}]})"),
              HasSubstr("only text can be learnt"));
  EXPECT_THAT(error(R"({"messages":[],"interactions":[]})"), HasSubstr("has both"));
  EXPECT_THAT(error(R"({"instruction":7,"output":"x"})"), HasSubstr("must be a string"));
}

TEST(ParsePreferenceLine, ReadsPromptsOfAllKinds) {
  for (const char* json :
       {R"({"prompt":"q","chosen":"a","rejected":"b"})",
        R"({"instruction":"q","input":"","chosen":"a","rejected":"b"})",
        R"({"prompt":[{"role":"user","content":"q"}],"chosen":[{"role":"assistant","content":"a"}],
            "rejected":[{"role":"assistant","content":"b"}]})",
        R"({"chosen":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}],
            "rejected":[{"role":"user","content":"q"},{"role":"assistant","content":"b"}]})",
        R"({"chosen":"\n\nHuman: q\n\nAssistant: a","rejected":"\n\nHuman: q\n\nAssistant: b"})",
        R"({"prompt":"\n\nHuman: q\n\nAssistant:","chosen":"a","rejected":"b"})"}) {
    const PreferenceLine pair = PairOf(json);
    EXPECT_THAT(Shown(pair.chosen.messages), ElementsAre("u:q", "A:a")) << json;
    EXPECT_THAT(Shown(pair.rejected.messages), ElementsAre("u:q", "A:b")) << json;
  }
  const PreferenceLine plain =
      PairOf(R"({"prompt":"q","chosen":"a","rejected":"b"})", StringsAs::kPlain);
  EXPECT_EQ(plain.chosen.prompt, "q");
  EXPECT_EQ(plain.rejected.text, "b");
}

TEST(ParsePreferenceLine, TakesWhatTranscriptsShareForThePrompt) {
  const PreferenceLine pair = PairOf(
      R"({"chosen":"\n\nHuman: q\n\nAssistant: same\n\nHuman: r\n\nAssistant: a",
          "rejected":"\n\nHuman: q\n\nAssistant: same\n\nHuman: r\n\nAssistant: b"})");
  EXPECT_THAT(Shown(pair.chosen.messages), ElementsAre("u:q", "a:same", "u:r", "A:a"));
  EXPECT_THAT(Shown(pair.rejected.messages), ElementsAre("u:q", "a:same", "u:r", "A:b"));
}

TEST(ParsePreferenceLine, NamesLineAndMemberOfWhatIsWrong) {
  const auto error = [](const char* json) { return ErrorOf([&] { PairOf(json); }); };
  EXPECT_THAT(error(R"({"prompt":"q","chosen":"a"})"), HasSubstr("d.jsonl:3: has no \"rejected\""));
  EXPECT_THAT(error(R"({"prompt":"q","rejected":"a"})"), HasSubstr("has no \"chosen\""));
  EXPECT_THAT(error(R"({"chosen":"a","rejected":"b"})"), HasSubstr("chosen has no prompt"));
  EXPECT_THAT(error(R"({"prompt":"q","chosen":"a","rejected":"a"})"),
              HasSubstr("chosen and rejected are the same"));
}

TEST(ParseTranscript, EndsTurnsAtTheMarksOnly) {
  const auto turns =
      ParseTranscript("\n\nHuman: a\n\nb Human: c\n\nAssistant: d\n\n\n\nHuman:\n\nAssistant:  ");
  EXPECT_THAT(Shown(turns), ElementsAre("u:a\n\nb Human: c", "A:d", "u:"));
  EXPECT_TRUE(ParseTranscript("Human: a").empty());
}

TEST(ParseTranscript, OfManyMarksTakesLinearTime) {
  std::string text = "\n\nHuman:";
  for (int i = 0; i < 300'000; ++i) text += "\n\nHuman:";
  EXPECT_EQ(ParseTranscript(text).size(), 300'001u);
}

}  // namespace
}  // namespace cadre
