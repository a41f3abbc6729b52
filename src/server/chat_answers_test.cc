#include "server/chat_answers.h"

#include <gtest/gtest.h>

#include "server/testing.h"

namespace cadre {
namespace {

using testing_server::FakeReply;
using testing_server::Served;

RequestEvent TextEvent(const std::string& text) {
  RequestEvent event;
  event.text = text;
  return event;
}

RequestEvent EndEvent(FinishReason reason = FinishReason::kStop) {
  RequestEvent event;
  event.end.emplace();
  event.end->reason = reason;
  event.end->usage = {.prompt_tokens = 10,
                      .cached_tokens = 4,
                      .generated_tokens = 3,
                      .drafted_tokens = 5,
                      .accepted_tokens = 2,
                      .experts_per_token = 2};
  return event;
}

class ChatAnswersTest : public testing::Test {
 protected:
  ChatAnswerOptions Options(bool stream, size_t n = 1) {
    return {.head = {"chatcmpl-1", 1700000000, "test-model"},
            .n = n,
            .stream = stream,
            .prefix = {},
            .tool_trigger_id = {}};
  }
  // Tells the events of (choice, event) and the end.
  void Tell(ChatAnswerOptions options, std::vector<std::pair<size_t, RequestEvent>> events) {
    const auto answers = MakeChatAnswers(served_.config, std::move(options));
    answers->Begin(reply_);
    for (auto& [index, event] : events) answers->Event(index, std::move(event), reply_);
    answers->End(reply_);
  }
  OutputToken Token(const std::string& piece, int64_t text_end, float logprob = -0.5f) {
    OutputToken token;
    token.id = *served_.tokenizer.FindPiece(piece);
    token.text_end = text_end;
    token.logprob = logprob;
    return token;
  }
  // What an engine tells of `text`, a byte a token, behind `before` bytes.
  RequestEvent Spelt(const std::string& text, int64_t before) {
    RequestEvent event = TextEvent(text);
    for (const char c : text) {
      event.tokens.push_back(Token(PieceOfByte(static_cast<uint8_t>(c)), ++before));
    }
    return event;
  }

  Served served_;
  FakeReply reply_;
};

TEST_F(ChatAnswersTest, AnswersWithOneBody) {
  Tell(Options(false), {{0, TextEvent("Hel")}, {0, TextEvent("lo")}, {0, EndEvent()}});
  const Json body = reply_.json();
  EXPECT_EQ(reply_.status(), 200);
  EXPECT_EQ(reply_.content_type(), "application/json");
  EXPECT_EQ(body["object"], "chat.completion");
  EXPECT_EQ(body["id"], "chatcmpl-1");
  EXPECT_TRUE(body["created"].is_number_integer());
  EXPECT_EQ(body["model"], "test-model");
  ASSERT_EQ(body["choices"].size(), 1u);
  const Json& choice = body["choices"][0];
  EXPECT_EQ(choice["index"], 0);
  EXPECT_EQ(choice["message"]["role"], "assistant");
  EXPECT_EQ(choice["message"]["content"], "Hello");
  EXPECT_TRUE(choice["message"]["tool_calls"].is_null());
  EXPECT_EQ(choice["finish_reason"], "stop");
  EXPECT_TRUE(choice["logprobs"].is_null());
  EXPECT_FALSE(choice.contains("routing"));
  const Json& usage = body["usage"];
  EXPECT_EQ(usage["prompt_tokens"], 10);
  EXPECT_EQ(usage["completion_tokens"], 3);
  EXPECT_EQ(usage["total_tokens"], 13);
  EXPECT_EQ(usage["num_cached_tokens"], 4);
  EXPECT_EQ(usage["prompt_tokens_details"]["cached_tokens"], 4);
  EXPECT_EQ(usage["completion_tokens_details"]["accepted_prediction_tokens"], 2);
  EXPECT_EQ(usage["completion_tokens_details"]["rejected_prediction_tokens"], 3);
  EXPECT_EQ(usage["experts_per_token"], 2);
}

TEST_F(ChatAnswersTest, CountsThePromptOfManyAnswersOnce) {
  Tell(Options(false, 2), {{1, TextEvent("b")},
                           {0, TextEvent("a")},
                           {1, EndEvent(FinishReason::kLength)},
                           {0, EndEvent()}});
  const Json body = reply_.json();
  EXPECT_EQ(body["choices"][0]["message"]["content"], "a");
  EXPECT_EQ(body["choices"][1]["message"]["content"], "b");
  EXPECT_EQ(body["choices"][1]["finish_reason"], "length");
  EXPECT_EQ(body["usage"]["prompt_tokens"], 10);
  EXPECT_EQ(body["usage"]["completion_tokens"], 6);
}

TEST_F(ChatAnswersTest, StreamsRoleTextAndEnd) {
  Tell(Options(true),
       {{0, TextEvent("Hel")}, {0, TextEvent("")}, {0, TextEvent("lo\n\"")}, {0, EndEvent()}});
  EXPECT_EQ(reply_.content_type(), "text/event-stream");
  EXPECT_EQ(reply_.header("Cache-Control"), "no-cache");
  EXPECT_EQ(reply_.header("X-Accel-Buffering"), "no");
  const auto events = reply_.events();
  ASSERT_EQ(events.size(), 4u);
  for (const Json& event : events) {
    EXPECT_EQ(event["id"], "chatcmpl-1");
    EXPECT_EQ(event["object"], "chat.completion.chunk");
    EXPECT_EQ(event["created"], 1700000000);
    EXPECT_EQ(event["model"], "test-model");
    ASSERT_EQ(event["choices"].size(), 1u);
    EXPECT_TRUE(event["choices"][0].contains("finish_reason"));
    EXPECT_TRUE(event["choices"][0].contains("logprobs"));
  }
  EXPECT_EQ(events[0]["choices"][0]["delta"], Json::parse(R"({"role":"assistant","content":""})"));
  EXPECT_EQ(events[1]["choices"][0]["delta"], Json::parse(R"({"content":"Hel"})"));
  EXPECT_EQ(events[2]["choices"][0]["delta"], Json::parse(R"({"content":"lo\n\""})"));
  EXPECT_TRUE(events[2]["choices"][0]["finish_reason"].is_null());
  EXPECT_EQ(events[3]["choices"][0]["finish_reason"], "stop");
  EXPECT_FALSE(events[2].contains("usage"));
  EXPECT_EQ(events[3]["usage"]["total_tokens"], 13);
}

TEST_F(ChatAnswersTest, PutsUsageApartWhereItIsAskedFor) {
  ChatAnswerOptions options = Options(true);
  options.include_usage = true;
  Tell(std::move(options), {{0, TextEvent("a")}, {0, EndEvent()}});
  const auto events = reply_.events();
  ASSERT_EQ(events.size(), 4u);
  for (size_t i = 0; i < 3; ++i) {
    ASSERT_TRUE(events[i].contains("usage"));
    EXPECT_TRUE(events[i]["usage"].is_null());
  }
  EXPECT_EQ(events[3]["choices"], Json::array());
  EXPECT_EQ(events[3]["usage"]["completion_tokens"], 3);
}

TEST_F(ChatAnswersTest, InterleavesTheStreamsOfManyAnswers) {
  Tell(Options(true, 2), {{1, TextEvent("b")},
                          {0, TextEvent("a")},
                          {1, EndEvent()},
                          {0, TextEvent("c")},
                          {0, EndEvent()}});
  std::map<int, std::string> texts;
  int with_usage = 0;
  const auto events = reply_.events();
  for (const Json& event : events) {
    const Json& choice = event["choices"][0];
    texts[choice["index"]] += choice["delta"].value("content", "");
    with_usage += event.contains("usage") ? 1 : 0;
  }
  EXPECT_EQ(texts[0], "ac");
  EXPECT_EQ(texts[1], "b");
  EXPECT_EQ(with_usage, 1);
  EXPECT_EQ(events.back()["usage"]["completion_tokens"], 6);
}

TEST_F(ChatAnswersTest, BeginsWithThePrefix) {
  ChatAnswerOptions whole = Options(false);
  whole.prefix = "Once";
  Tell(std::move(whole), {{0, TextEvent(" upon")}, {0, EndEvent()}});
  EXPECT_EQ(reply_.json()["choices"][0]["message"]["content"], "Once upon");
}

TEST_F(ChatAnswersTest, StreamsThePrefixFirst) {
  ChatAnswerOptions options = Options(true);
  options.prefix = "Once";
  Tell(std::move(options), {{0, TextEvent(" upon")}, {0, EndEvent()}});
  EXPECT_EQ(reply_.events()[1]["choices"][0]["delta"]["content"], "Once");
  EXPECT_EQ(reply_.events()[2]["choices"][0]["delta"]["content"], " upon");
}

TEST_F(ChatAnswersTest, TellsLogprobsWithBytes) {
  ChatAnswerOptions options = Options(false);
  options.logprobs = true;
  RequestEvent event = TextEvent("a");
  event.tokens = {Token("\xE2\x96\x81"
                        "a",
                        1),
                  Token("<0xC3>", 1)};
  event.tokens[0].top_logprobs = {{event.tokens[0].id, -0.5f},
                                  {event.tokens[1].id, -std::numeric_limits<float>::infinity()}};
  Tell(std::move(options), {{0, event}, {0, EndEvent()}});
  const Json content = reply_.json()["choices"][0]["logprobs"]["content"];
  ASSERT_EQ(content.size(), 2u);
  EXPECT_EQ(content[0]["token"], " a");
  EXPECT_EQ(content[0]["bytes"], Json({32, 97}));
  EXPECT_EQ(content[0]["logprob"], -0.5);
  ASSERT_EQ(content[0]["top_logprobs"].size(), 2u);
  EXPECT_EQ(content[0]["top_logprobs"][1]["logprob"], -9999.0);
  EXPECT_EQ(content[1]["token"], "\xEF\xBF\xBD");
  EXPECT_EQ(content[1]["bytes"], Json({0xC3}));
  EXPECT_EQ(content[1]["top_logprobs"], Json::array());
}

TEST_F(ChatAnswersTest, StreamsLogprobsWithTheirChunks) {
  ChatAnswerOptions options = Options(true);
  options.logprobs = true;
  Tell(std::move(options), {{0, Spelt("ab", 0)}, {0, EndEvent()}});
  const auto events = reply_.events();
  EXPECT_TRUE(events[0]["choices"][0]["logprobs"].is_null());
  EXPECT_EQ(events[1]["choices"][0]["logprobs"]["content"].size(), 2u);
  EXPECT_EQ(events[1]["choices"][0]["logprobs"]["content"][1]["token"], "b");
}

TEST_F(ChatAnswersTest, TellsTheExpertsOfEachToken) {
  ChatAnswerOptions options = Options(false);
  options.routing = RoutingDetail::kAll;
  RequestEvent event = Spelt("ab", 0);
  event.tokens[0].routing = {{3, 1, 0, -1}, {0.75f, 0.25f, 1.0f, 0.0f}, {0.5f, 1.25f}};
  RequestEvent end = EndEvent();
  end.end->prompt_tokens = {event.tokens[0]};
  Tell(std::move(options), {{0, event}, {0, end}});
  const Json routing = reply_.json()["choices"][0]["routing"];
  EXPECT_EQ(routing["tokens"][0]["text"], "a");
  EXPECT_EQ(routing["tokens"][0]["experts"], Json::parse("[[3,1],[0]]"));
  EXPECT_EQ(routing["tokens"][0]["gates"], Json::parse("[[0.75,0.25],[1.0]]"));
  EXPECT_EQ(routing["tokens"][0]["entropy"], Json::parse("[0.5,1.25]"));
  EXPECT_EQ(routing["tokens"][1]["experts"], Json::array());
  EXPECT_EQ(routing["prompt"].size(), 1u);
}

TEST_F(ChatAnswersTest, StreamsTheExperts) {
  ChatAnswerOptions options = Options(true);
  options.routing = RoutingDetail::kAnswer;
  RequestEvent event = Spelt("a", 0);
  event.text = "";  // it went before
  event.tokens[0].routing = {{3, 1, 0, 2}, {0.75f, 0.25f, 0.5f, 0.5f}, {0.5f, 1.25f}};
  Tell(std::move(options), {{0, TextEvent("a")}, {0, event}, {0, EndEvent()}});
  const auto events = reply_.events();
  ASSERT_EQ(events.size(), 4u);
  EXPECT_FALSE(events[1]["choices"][0].contains("routing"));
  EXPECT_EQ(events[2]["choices"][0]["routing"]["tokens"][0]["experts"],
            Json::parse("[[3,1],[0,2]]"));
}

TEST_F(ChatAnswersTest, TurnsCallsIntoToolCalls) {
  ChatAnswerOptions options = Options(false);
  options.tool_trigger_id = served_.config.ControlId("[TOOL_CALLS]");
  RequestEvent trigger = Spelt("ok", 0);
  trigger.tokens.push_back(Token("[TOOL_CALLS]", 2));
  const std::string calls =
      R"([{"name": "f", "arguments": {"x": "}]\""}}, {"name": "g", "arguments": {}}])";
  Tell(std::move(options), {{0, trigger}, {0, Spelt(calls, 2)}, {0, EndEvent()}});
  const Json choice = reply_.json()["choices"][0];
  EXPECT_EQ(choice["finish_reason"], "tool_calls");
  EXPECT_EQ(choice["message"]["content"], "ok");
  const Json& told = choice["message"]["tool_calls"];
  ASSERT_EQ(told.size(), 2u);
  EXPECT_EQ(told[0]["type"], "function");
  EXPECT_EQ(told[0]["index"], 0);
  EXPECT_EQ(told[0]["function"]["name"], "f");
  EXPECT_EQ(told[0]["function"]["arguments"], R"({"x":"}]\""})");
  EXPECT_EQ(told[1]["index"], 1);
  EXPECT_EQ(told[1]["function"]["arguments"], "{}");
  for (const Json& call : told) {
    const std::string id = call["id"];
    EXPECT_EQ(id.size(), 9u);
    EXPECT_TRUE(std::all_of(id.begin(), id.end(), [](unsigned char c) { return isalnum(c); }))
        << id;
  }
  EXPECT_NE(told[0]["id"], told[1]["id"]);
}

TEST_F(ChatAnswersTest, HasEmptyContentBesideCallsAlone) {
  ChatAnswerOptions options = Options(false);
  options.tool_trigger_id = served_.config.ControlId("[TOOL_CALLS]");
  RequestEvent event = TextEvent("");
  event.tokens = {Token("[TOOL_CALLS]", 0)};
  Tell(std::move(options),
       {{0, event}, {0, Spelt(R"([{"name":"f","arguments":{}}])", 0)}, {0, EndEvent()}});
  EXPECT_EQ(reply_.json()["choices"][0]["message"]["content"], "");
}

TEST_F(ChatAnswersTest, SpeaksWhereTheModelCallsNothing) {
  ChatAnswerOptions options = Options(false);
  options.tool_trigger_id = served_.config.ControlId("[TOOL_CALLS]");
  Tell(std::move(options), {{0, Spelt("[TOOL_CALLS] no", 0)}, {0, EndEvent()}});
  const Json choice = reply_.json()["choices"][0];
  EXPECT_EQ(choice["message"]["content"], "[TOOL_CALLS] no");
  EXPECT_TRUE(choice["message"]["tool_calls"].is_null());
  EXPECT_EQ(choice["finish_reason"], "stop");
}

TEST_F(ChatAnswersTest, KeepsWholeCallsOfAnAnswerThatWasCut) {
  ChatAnswerOptions options = Options(false);
  options.tool_trigger_id = served_.config.ControlId("[TOOL_CALLS]");
  RequestEvent event = TextEvent("");
  event.tokens = {Token("[TOOL_CALLS]", 0)};
  Tell(std::move(options), {{0, event},
                            {0, Spelt(R"([{"name":"f","arguments":{}}, {"name":"g","argu)", 0)},
                            {0, EndEvent(FinishReason::kLength)}});
  const Json choice = reply_.json()["choices"][0];
  EXPECT_EQ(choice["message"]["tool_calls"].size(), 1u);
  EXPECT_EQ(choice["finish_reason"], "length");
}

TEST_F(ChatAnswersTest, StreamsEachCallWhole) {
  ChatAnswerOptions options = Options(true);
  options.tool_trigger_id = served_.config.ControlId("[TOOL_CALLS]");
  // As with drafted tokens: text, trigger and calls in one event, and the rest piece by piece.
  RequestEvent first = Spelt("ok", 0);
  first.tokens.push_back(Token("[TOOL_CALLS]", 2));
  const RequestEvent begin = Spelt(R"([{"name":"f",)", 2);
  first.text += begin.text;
  first.tokens.insert(first.tokens.end(), begin.tokens.begin(), begin.tokens.end());
  Tell(std::move(options), {{0, first},
                            {0, Spelt(R"("arguments":{"x":1}},{)", 16)},
                            {0, Spelt(R"("name":"g","arguments":{}}])", 40)},
                            {0, EndEvent()}});
  const auto events = reply_.events();
  ASSERT_EQ(events.size(), 5u);
  EXPECT_EQ(events[1]["choices"][0]["delta"], Json::parse(R"({"content":"ok"})"));
  const Json& call = events[2]["choices"][0]["delta"]["tool_calls"][0];
  EXPECT_EQ(call["function"]["name"], "f");
  EXPECT_EQ(call["function"]["arguments"], R"({"x":1})");
  EXPECT_EQ(call["index"], 0);
  EXPECT_EQ(events[3]["choices"][0]["delta"]["tool_calls"][0]["index"], 1);
  EXPECT_EQ(events[4]["choices"][0]["finish_reason"], "tool_calls");
}

TEST_F(ChatAnswersTest, HoldsTextBackUntilItsTokensAreKnown) {
  // With routing a token is told a step after its text.
  ChatAnswerOptions options = Options(true);
  options.tool_trigger_id = served_.config.ControlId("[TOOL_CALLS]");
  const RequestEvent calls = Spelt(R"([{"name":"f","arguments":{}}])", 2);
  RequestEvent late = TextEvent("");
  late.tokens = Spelt("ok", 0).tokens;
  late.tokens.push_back(Token("[TOOL_CALLS]", 2));
  late.tokens.insert(late.tokens.end(), calls.tokens.begin(), calls.tokens.end());
  Tell(std::move(options),
       {{0, TextEvent("ok")}, {0, TextEvent(calls.text)}, {0, late}, {0, EndEvent()}});
  std::string content;
  for (const Json& event : reply_.events())
    content += event["choices"][0]["delta"].value("content", "");
  EXPECT_EQ(content, "ok");
}

TEST_F(ChatAnswersTest, EndsABrokenStreamWithAnErrorEvent) {
  const auto answers = MakeChatAnswers(served_.config, Options(true));
  answers->Begin(reply_);
  answers->Event(0, TextEvent("a"), reply_);
  answers->Fail(ApiError(500, "broken"), reply_);
  const auto events = reply_.events();
  EXPECT_EQ(events.back()["error"]["message"], "broken");
  EXPECT_EQ(events.back()["error"]["type"], "server_error");
  EXPECT_TRUE(reply_.complete());
}

}  // namespace
}  // namespace cadre
