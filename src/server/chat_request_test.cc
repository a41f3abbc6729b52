#include "server/chat_request.h"

#include <gtest/gtest.h>

#include "server/chat_messages.h"
#include "server/testing.h"

namespace cadre {
namespace {

using testing_server::Fault;
using testing_server::Served;

class ChatRequestTest : public testing::Test {
 protected:
  // `more`: members beside the model.
  static OrderedJson Body(const std::string& more) {
    return OrderedJson::parse("{\"model\":\"test-model\"," + more + "}");
  }
  static std::string FaultOf(const std::string& more, const Served& served) {
    return Fault([&] { ChatPrompt(ParseChatRequest(Body(more), served.config), served.config); });
  }
  std::string FaultOf(const std::string& more) { return FaultOf(more, v3_); }
  ChatRequest Parse(const std::string& more) { return ParseChatRequest(Body(more), v3_.config); }
  std::vector<Message> Messages(const std::string& list) {
    return ParseMessages(OrderedJson::parse(list));
  }

  Served v3_{ChatVersion::kV3};
};

constexpr const char* kHello = R"("messages":[{"role":"user","content":"hello"}])";

std::string With(const std::string& more) { return std::string(kHello) + "," + more; }

TEST_F(ChatRequestTest, TakesAPlainQuestion) {
  const ChatRequest request = Parse(kHello);
  ASSERT_EQ(request.messages.size(), 1u);
  EXPECT_EQ(request.messages[0].content, "hello");
  EXPECT_EQ(request.top_logprobs, -1);
  EXPECT_EQ(request.tools.choice, ToolChoice::kNone);
  EXPECT_EQ(ChatPrompt(request, v3_.config)[1], *v3_.config.ControlId("[INST]"));
}

TEST_F(ChatRequestTest, TakesNullAsAbsent) {
  for (const char* name :
       {"tools", "tool_choice", "parallel_tool_calls", "response_format", "safe_prompt", "logprobs",
        "top_logprobs", "regex", "user", "metadata", "functions", "prediction"}) {
    EXPECT_EQ(FaultOf(With(fmt::format("\"{}\":null", name))), "none") << name;
  }
}

TEST_F(ChatRequestTest, IgnoresFieldsOfOthers) {
  EXPECT_EQ(FaultOf(With(R"("user":"u","store":true,"service_tier":"auto","metadata":{"a":"b"},
      "reasoning_effort":"high","modalities":["text"],"prediction":{"type":"content","content":""},
      "prompt_mode":"x","never_heard_of":[1])")),
            "none");
}

TEST_F(ChatRequestTest, RefusesWrongFieldsByName) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {R"("n":1)", "422 messages missing"},
      {R"("messages":null)", "422 messages missing"},
      {R"("messages":{})", "422 messages list_type"},
      {R"("messages":[])", "422 messages too_short"},
      {R"("messages":["x"])", "422 messages.0 model_attributes_type"},
      {R"("messages":[{"content":"x"}])", "422 messages.0.role missing"},
      {R"("messages":[{"role":"robot","content":"x"}])", "422 messages.0.role literal_error"},
      {R"("messages":[{"role":1,"content":"x"}])", "422 messages.0.role string_type"},
      {R"("messages":[{"role":"user","content":5}])", "422 messages.0.content string_type"},
      {R"("messages":[{"role":"system"}])", "422 messages.0.content missing"},
      {R"("messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}])",
       "422 messages.0.content.0.type literal_error"},
      {R"("messages":[{"role":"user","content":[{"type":"text"}]}])",
       "422 messages.0.content.0.text missing"},
      {R"("messages":[{"role":"assistant","content":"x","prefix":"yes"}])",
       "422 messages.0.prefix bool_type"},
      {R"("messages":[{"role":"assistant","tool_calls":{}}])",
       "422 messages.0.tool_calls list_type"},
      {R"("messages":[{"role":"assistant","tool_calls":[{"id":"a"}]}])",
       "422 messages.0.tool_calls.0.function missing"},
      {R"("messages":[{"role":"assistant","tool_calls":[{"function":{"arguments":"{}"}}]}])",
       "422 messages.0.tool_calls.0.function.name missing"},
      {R"("messages":[{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":5}}]}])",
       "422 messages.0.tool_calls.0.function.arguments string_type"},
      {With(R"("logprobs":"x")"), "422 logprobs bool_type"},
      {With(R"("logprobs":true,"top_logprobs":21)"), "422 top_logprobs less_than_equal"},
      {With(R"("top_logprobs":3)"), "422 top_logprobs value_error"},
      {With(R"("safe_prompt":1)"), "422 safe_prompt bool_type"},
      {With(R"("response_format":"json")"), "422 response_format model_attributes_type"},
      {With(R"("response_format":{})"), "422 response_format.type missing"},
      {With(R"("response_format":{"type":"xml"})"), "422 response_format.type literal_error"},
      {With(R"("response_format":{"type":"json_schema"})"),
       "422 response_format.json_schema missing"},
      {With(R"("response_format":{"type":"json_schema","json_schema":{"schema":5}})"),
       "422 response_format.json_schema.schema dict_type"},
      {With(R"("regex":5)"), "422 regex string_type"},
      {With(R"("regex":"a","response_format":{"type":"json_object"})"), "422 regex value_error"},
      {With(R"("tools":{})"), "422 tools list_type"},
      {With(R"("tools":[{"type":"function"}])"), "422 tools.0.function missing"},
      {With(R"("tools":[{"type":"web","function":{"name":"f"}}])"),
       "422 tools.0.type literal_error"},
      {With(R"("tools":[{"function":{"name":"no spaces"}}])"),
       "422 tools.0.function.name string_pattern_mismatch"},
      {With(R"("tools":[{"function":{"name":"f","parameters":[]}}])"),
       "422 tools.0.function.parameters dict_type"},
      {With(R"("tools":[{"function":{"name":"f"}},{"function":{"name":"f"}}])"),
       "422 tools.1.function.name value_error"},
      {With(R"("tools":[{"function":{"name":"f"}}],"tool_choice":"maybe")"),
       "422 tool_choice literal_error"},
      {With(R"("tools":[{"function":{"name":"f"}}],"tool_choice":{"type":"function",
          "function":{"name":"g"}})"),
       "422 tool_choice.function.name value_error"},
      {With(R"("tool_choice":"required")"), "422 tool_choice value_error"},
      {With(R"("functions":[{"name":"f"}])"), "422 functions extra_forbidden"},
  };
  for (const auto& [more, fault] : cases) EXPECT_EQ(FaultOf(more), fault) << more;
}

TEST_F(ChatRequestTest, RefusesConversationsThatMakeNoSense) {
  for (
      const char* messages :
      {R"([{"role":"user","content":"a"},{"role":"assistant","content":"b"}])",
       R"([{"role":"assistant","content":"b"}])",
       R"([{"role":"user","content":"a"},{"role":"assistant"},{"role":"user","content":"c"}])",
       R"([{"role":"user","content":"a"},{"role":"tool","content":"b","tool_call_id":"123456789"}])",
       R"([{"role":"user","content":"a"},{"role":"assistant","content":"b","prefix":true},
            {"role":"user","content":"c"}])"}) {
    EXPECT_EQ(FaultOf(std::string("\"messages\":") + messages), "400 messages") << messages;
  }
}

TEST_F(ChatRequestTest, RefusesAConversationThatIsLongerThanTheContext) {
  EXPECT_EQ(FaultOf(R"("messages":[{"role":"user","content":")" + std::string(3000, 'a') + "\"}]"),
            "400 messages context_length_exceeded");
}

TEST_F(ChatRequestTest, JoinsPartsAndKnowsTheDeveloper) {
  const auto messages = Messages(
      R"([{"role":"developer","content":"s"},
          {"role":"user","content":[{"type":"text","text":"a"},{"text":""},{"type":"text","text":"b"}]},
          {"role":"assistant","content":[{"type":"text","text":"c"}],"tool_calls":[]},
          {"role":"user","content":null,"name":"Ann"}])");
  EXPECT_EQ(messages[0].role, Role::kSystem);
  EXPECT_EQ(messages[1].content, "a\n\nb");
  EXPECT_EQ(messages[2].content, "c");
  EXPECT_EQ(messages[3].content, "");
}

TEST_F(ChatRequestTest, ReadsToolCallsOfBothDialects) {
  const auto messages = Messages(
      R"([{"role":"user","content":"q"},
          {"role":"assistant","content":"thinking aloud","tool_calls":[
             {"id":"call_abc","type":"function","function":{"name":"f","arguments":"{\"x\":1}"}},
             {"id":"AbCdEf123","index":1,"function":{"name":"g","arguments":{"y":[1,2]}}}]},
          {"role":"tool","tool_call_id":"call_abc","content":[{"text":"4"},{"text":"2"}]},
          {"role":"tool","tool_call_id":"AbCdEf123","content":"{}","name":"other"}])");
  const Message& calling = messages[1];
  EXPECT_EQ(calling.content, "");
  ASSERT_EQ(calling.tool_calls.size(), 2u);
  EXPECT_EQ(calling.tool_calls[0].arguments, "{\"x\":1}");
  EXPECT_EQ(calling.tool_calls[1].arguments, "{\"y\":[1,2]}");
  EXPECT_EQ(calling.tool_calls[0].id.size(), 9u);
  EXPECT_EQ(calling.tool_calls[0].id, messages[2].tool_call_id);
  EXPECT_EQ(calling.tool_calls[1].id, "AbCdEf123");
  EXPECT_EQ(messages[3].tool_call_id, "AbCdEf123");
  EXPECT_EQ(messages[2].name, "f");
  EXPECT_EQ(messages[3].name, "other");
  EXPECT_EQ(messages[2].content, "42");
}

TEST_F(ChatRequestTest, ReadsToolsAndTheirChoice) {
  const std::string tools =
      R"("tools":[{"type":"function","function":{"name":"f","description":"d","strict":true,
         "parameters":{"type":"object","properties":{"x":{"type":"number"}}}}},
         {"function":{"name":"g"}}])";
  const auto use = [&](const std::string& more) { return Parse(With(tools + more)).tools; };
  EXPECT_EQ(use("").choice, ToolChoice::kAuto);
  EXPECT_TRUE(use("").parallel);
  EXPECT_EQ(use("").tools[0].description, "d");
  EXPECT_EQ(use("").tools[0].parameters["properties"]["x"]["type"], "number");
  EXPECT_EQ(use("").tools[1].parameters, OrderedJson::object());
  EXPECT_EQ(use("").callable, (std::vector<size_t>{0, 1}));
  EXPECT_EQ(use(R"(,"tool_choice":"auto")").choice, ToolChoice::kAuto);
  EXPECT_EQ(use(R"(,"tool_choice":"none")").choice, ToolChoice::kNone);
  EXPECT_EQ(use(R"(,"tool_choice":"any")").choice, ToolChoice::kRequired);
  EXPECT_EQ(use(R"(,"tool_choice":"required")").choice, ToolChoice::kRequired);
  EXPECT_FALSE(use(R"(,"parallel_tool_calls":false)").parallel);
  const ToolUse one = use(R"(,"tool_choice":{"type":"function","function":{"name":"g"}})");
  EXPECT_EQ(one.choice, ToolChoice::kRequired);
  EXPECT_EQ(one.callable, std::vector<size_t>{1});
  EXPECT_EQ(one.tools.size(), 2u);
  const ToolUse some = use(R"(,"tool_choice":{"type":"allowed_tools","allowed_tools":
      {"mode":"auto","tools":[{"type":"function","function":{"name":"f"}}]}})");
  EXPECT_EQ(some.choice, ToolChoice::kAuto);
  EXPECT_EQ(some.callable, std::vector<size_t>{0});
  EXPECT_EQ(Parse(With(R"("tools":[],"tool_choice":"auto")")).tools.choice, ToolChoice::kNone);
}

TEST_F(ChatRequestTest, PutsToolsBeforeTheLastQuestionUnlessTheyAreNotToBeUsed) {
  const int32_t tools_id = *v3_.config.ControlId("[AVAILABLE_TOOLS]");
  const std::string tools = R"("tools":[{"function":{"name":"f"}}])";
  const auto has_tools = [&](const std::string& more) {
    const auto ids = ChatPrompt(Parse(With(tools + more)), v3_.config);
    return std::find(ids.begin(), ids.end(), tools_id) != ids.end();
  };
  EXPECT_TRUE(has_tools(""));
  EXPECT_FALSE(has_tools(R"(,"tool_choice":"none")"));
}

TEST_F(ChatRequestTest, RefusesToolsWhereTheModelHasNone) {
  const Served v1(ChatVersion::kV1);
  const std::string tools = R"("tools":[{"function":{"name":"f"}}])";
  EXPECT_EQ(FaultOf(With(tools), v1), "400 tools tools_not_supported");
  EXPECT_EQ(FaultOf(With(tools + R"(,"tool_choice":"none")"), v1), "none");
  EXPECT_EQ(FaultOf(With(tools), Served(ChatVersion::kV2)), "none");
}

TEST_F(ChatRequestTest, RefusesAFormatThatCannotBeHeldBesideTools) {
  EXPECT_EQ(FaultOf(With(
                R"("tools":[{"function":{"name":"f"}}],"response_format":{"type":"json_object"})")),
            "400 response_format");
}

TEST_F(ChatRequestTest, ContinuesAPrefix) {
  const std::string messages =
      R"("messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b  ","prefix":true}])";
  EXPECT_EQ(Parse(messages).prefix, "b");
  EXPECT_NE(ChatPrompt(Parse(messages), v3_.config).back(), v3_.tokenizer.eos_id());
  const Served v1(ChatVersion::kV1);
  EXPECT_EQ(ParseChatRequest(Body(messages), v1.config).prefix, "b  ");
  EXPECT_EQ(FaultOf(messages + R"(,"response_format":{"type":"json_object"})"),
            "400 response_format");
}

TEST_F(ChatRequestTest, PutsTheSafetyPromptInFront) {
  const auto plain = ChatPrompt(Parse(kHello), v3_.config);
  const auto safe = ChatPrompt(Parse(With(R"("safe_prompt":true)")), v3_.config);
  EXPECT_NE(v3_.tokenizer.Decode(plain).find("hello"), std::string::npos);
  EXPECT_EQ(v3_.tokenizer.Decode(plain).find("Always assist"), std::string::npos);
  EXPECT_NE(v3_.tokenizer.Decode(safe).find("Always assist"), std::string::npos);
}

TEST_F(ChatRequestTest, ReadsFormats) {
  const auto kind = [&](const std::string& more) { return Parse(With(more)).format.kind; };
  using Kind = AnswerFormat::Kind;
  EXPECT_EQ(kind(R"("response_format":{"type":"text"})"), Kind::kText);
  EXPECT_EQ(kind(R"("response_format":{"type":"json_object"})"), Kind::kJsonObject);
  EXPECT_EQ(kind(R"("response_format":{"type":"json_schema","json_schema":{"name":"n"}})"),
            Kind::kJsonObject);
  const auto schema =
      Parse(With(R"("response_format":{"type":"json_schema","json_schema":{"name":"n","strict":true,
          "schema":{"type":"integer"}}})"))
          .format;
  EXPECT_EQ(schema.kind, Kind::kJsonSchema);
  EXPECT_EQ(schema.schema["type"], "integer");
  EXPECT_EQ(Parse(With(R"("regex":"a+")")).format.regex, "a+");
}

TEST_F(ChatRequestTest, RefusesConversationsWithABaseModel) {
  EXPECT_EQ(FaultOf(kHello, Served(std::nullopt)), "400 model chat_not_supported");
}

TEST_F(ChatRequestTest, FillsInTheMiddleWhereTheModelCan) {
  const auto fim = [](const std::string& more, const Served& served) {
    return FimPrompt(ParseFimRequest(Body(more), served.config), served.config);
  };
  const auto id = [&](const char* piece) { return *v3_.config.ControlId(piece); };
  std::vector<int32_t> expected = {1, id("[SUFFIX]")};
  for (const int32_t one : v3_.tokenizer.Encode("end", DummyPrefix::kNone)) expected.push_back(one);
  expected.push_back(id("[PREFIX]"));
  for (const int32_t one : v3_.tokenizer.Encode("start")) expected.push_back(one);
  EXPECT_EQ(fim(R"("prompt":"start","suffix":"end")", v3_), expected);
  EXPECT_EQ(fim(R"("prompt":"","suffix":null)", v3_),
            (std::vector<int32_t>{1, id("[SUFFIX]"), id("[PREFIX]")}));
  for (const auto version : {ChatVersion::kV1, ChatVersion::kV2}) {
    const Served other(version);
    EXPECT_EQ(Fault([&] { fim(R"("prompt":"a")", other); }), "400 model fim_not_supported");
  }
  EXPECT_EQ(Fault([&] { fim(R"("suffix":"a")", v3_); }), "422 prompt missing");
}

}  // namespace
}  // namespace cadre
