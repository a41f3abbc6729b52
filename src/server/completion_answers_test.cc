#include "server/completion_answers.h"

#include <gtest/gtest.h>

#include "server/testing.h"

namespace cadre {
namespace {

using testing_server::FakeReply;
using testing_server::Served;

class CompletionAnswersTest : public testing::Test {
 protected:
  CompletionAnswerOptions Options(bool stream, std::vector<std::string> prompts = {"p"}) {
    return {.head = {"cmpl-1", 1700000000, "test-model"},
            .prompt_texts = std::move(prompts),
            .stream = stream};
  }
  void Tell(CompletionAnswerOptions options, std::vector<std::pair<size_t, RequestEvent>> events) {
    const auto answers = MakeCompletionAnswers(served_.config, std::move(options));
    answers->Begin(reply_);
    for (auto& [index, event] : events) answers->Event(index, std::move(event), reply_);
    answers->End(reply_);
  }
  OutputToken Token(const std::string& piece, std::optional<float> logprob) {
    OutputToken token;
    token.id = *served_.tokenizer.FindPiece(piece);
    token.logprob = logprob;
    if (logprob) token.top_logprobs = {{token.id, *logprob}};
    return token;
  }
  RequestEvent Text(const std::string& text) {
    RequestEvent event;
    event.text = text;
    return event;
  }
  RequestEvent End() {
    RequestEvent event;
    event.end.emplace();
    event.end->usage = {.prompt_tokens = 5, .generated_tokens = 2};
    return event;
  }
  const std::string space_a_ =
      "\xE2\x96\x81"
      "a";

  Served served_;
  FakeReply reply_;
};

TEST_F(CompletionAnswersTest, OrdersChoicesByPrompt) {
  CompletionAnswerOptions options = Options(false, {"p", "q"});
  options.n = options.best_of = 2;
  Tell(std::move(options), {{3, Text("q1")},
                            {0, Text("p0")},
                            {2, Text("q0")},
                            {1, Text("p1")},
                            {3, End()},
                            {2, End()},
                            {1, End()},
                            {0, End()}});
  const Json body = reply_.json();
  EXPECT_EQ(body["object"], "text_completion");
  ASSERT_EQ(body["choices"].size(), 4u);
  const std::vector<std::string> texts = {"p0", "p1", "q0", "q1"};
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(body["choices"][i]["index"], i);
    EXPECT_EQ(body["choices"][i]["text"], texts[i]);
    EXPECT_EQ(body["choices"][i]["finish_reason"], "stop");
    EXPECT_TRUE(body["choices"][i]["logprobs"].is_null());
  }
  EXPECT_EQ(body["usage"]["prompt_tokens"], 10);
  EXPECT_EQ(body["usage"]["completion_tokens"], 8);
}

TEST_F(CompletionAnswersTest, TellsTheBestOfMore) {
  CompletionAnswerOptions options = Options(false);
  options.n = 2;
  options.best_of = 3;
  const auto event = [&](const char* text, std::vector<float> logprobs) {
    RequestEvent one = Text(text);
    for (const float logprob : logprobs) one.tokens.push_back(Token("a", logprob));
    return one;
  };
  // The second is likelier per token than the first, though not as a whole.
  Tell(std::move(options), {{0, event("worst", {-2.0f})},
                            {1, event("good", {-1.0f, -1.5f})},
                            {2, event("best", {-0.5f})},
                            {0, End()},
                            {1, End()},
                            {2, End()}});
  const Json choices = reply_.json()["choices"];
  ASSERT_EQ(choices.size(), 2u);
  EXPECT_EQ(choices[0]["text"], "best");
  EXPECT_EQ(choices[1]["text"], "good");
  EXPECT_TRUE(choices[0]["logprobs"].is_null());
  EXPECT_EQ(reply_.json()["usage"]["completion_tokens"], 6);
}

TEST_F(CompletionAnswersTest, EchoesThePromptWithItsLogprobs) {
  CompletionAnswerOptions options = Options(false, {"a\xC3\xA9"});
  options.echo = true;
  options.top_logprobs = 1;
  RequestEvent event = Text("b");
  event.tokens = {Token("b", -0.25f)};
  RequestEvent end = End();
  end.end->prompt_tokens = {Token("<s>", {}), Token(space_a_, -1.0f), Token("<0xC3>", -2.0f),
                            Token("<0xA9>", -3.0f)};
  Tell(std::move(options), {{0, event}, {0, end}});
  const Json choice = reply_.json()["choices"][0];
  EXPECT_EQ(choice["text"],
            "a\xC3\xA9"
            "b");
  const Json& logprobs = choice["logprobs"];
  EXPECT_EQ(logprobs["tokens"][0], "<s>");
  EXPECT_EQ(logprobs["tokens"][1], " a");
  EXPECT_TRUE(logprobs["token_logprobs"][0].is_null());
  EXPECT_TRUE(logprobs["top_logprobs"][0].is_null());
  EXPECT_EQ(logprobs["token_logprobs"][1], -1.0);
  EXPECT_EQ(logprobs["token_logprobs"][4], -0.25);
  EXPECT_EQ(logprobs["top_logprobs"][1][" a"], -1.0);
  EXPECT_EQ(logprobs["text_offset"].size(), 5u);
  EXPECT_EQ(logprobs["text_offset"][0], 0);
  EXPECT_EQ(logprobs["text_offset"][1], 0);
  EXPECT_EQ(logprobs["text_offset"][2], 1);
}

TEST_F(CompletionAnswersTest, HasNoTopLogprobsWhereNoneWereAskedFor) {
  CompletionAnswerOptions options = Options(false);
  options.top_logprobs = 0;
  RequestEvent event = Text("ab");
  event.tokens = {Token("a", -1.0f), Token("b", -1.0f)};
  Tell(std::move(options), {{0, event}, {0, End()}});
  const Json logprobs = reply_.json()["choices"][0]["logprobs"];
  EXPECT_TRUE(logprobs["top_logprobs"].is_null());
  EXPECT_EQ(logprobs["text_offset"], Json({0, 1}));
}

TEST_F(CompletionAnswersTest, StreamsTexts) {
  CompletionAnswerOptions options = Options(true, {"p", "q"});
  options.echo = true;
  Tell(std::move(options),
       {{1, Text("b")}, {0, Text("a")}, {1, End()}, {0, Text("c")}, {0, End()}});
  const auto events = reply_.events();
  std::map<int, std::string> texts;
  for (const Json& event : events) {
    EXPECT_EQ(event["object"], "text_completion");
    const Json& choice = event["choices"][0];
    EXPECT_TRUE(choice.contains("finish_reason"));
    texts[choice["index"]] += choice["text"].get<std::string>();
  }
  EXPECT_EQ(texts[0], "pac");
  EXPECT_EQ(texts[1], "qb");
  EXPECT_EQ(events.back()["choices"][0]["finish_reason"], "stop");
  EXPECT_EQ(events.back()["usage"]["completion_tokens"], 4);
}

TEST_F(CompletionAnswersTest, EchoesAPromptThatNothingFollows) {
  CompletionAnswerOptions options = Options(true);
  options.echo = true;
  Tell(std::move(options), {{0, End()}});
  EXPECT_EQ(reply_.events()[0]["choices"][0]["text"], "p");
}

TEST_F(CompletionAnswersTest, StreamsAnEchoWithLogprobsOnceTheyAreKnown) {
  CompletionAnswerOptions options = Options(true, {"a"});
  options.echo = true;
  options.top_logprobs = 0;
  RequestEvent event = Text("b");
  event.tokens = {Token("b", -1.0f)};
  RequestEvent end = End();
  end.end->prompt_tokens = {Token(space_a_, {})};
  Tell(std::move(options), {{0, event}, {0, end}});
  const auto events = reply_.events();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0]["choices"][0]["text"], "ab");
  EXPECT_EQ(events[0]["choices"][0]["logprobs"]["tokens"], Json({" a", "b"}));
  EXPECT_EQ(events[0]["choices"][0]["finish_reason"], "stop");
}

TEST_F(CompletionAnswersTest, CountsOffsetsAcrossChunks) {
  CompletionAnswerOptions options = Options(true);
  options.top_logprobs = 0;
  RequestEvent first = Text("ab");
  first.tokens = {Token("a", -1.0f), Token("b", -1.0f)};
  RequestEvent second = Text("c");
  second.tokens = {Token("c", -1.0f)};
  Tell(std::move(options), {{0, first}, {0, second}, {0, End()}});
  EXPECT_EQ(reply_.events()[1]["choices"][0]["logprobs"]["text_offset"], Json({2}));
}

TEST_F(CompletionAnswersTest, PutsUsageApartWhereItIsAskedFor) {
  CompletionAnswerOptions options = Options(true);
  options.include_usage = true;
  Tell(std::move(options), {{0, Text("a")}, {0, End()}});
  const auto events = reply_.events();
  ASSERT_EQ(events.size(), 3u);
  EXPECT_TRUE(events[0]["usage"].is_null());
  EXPECT_TRUE(events[1]["usage"].is_null());
  EXPECT_EQ(events[2]["choices"], Json::array());
  EXPECT_EQ(events[2]["usage"]["prompt_tokens"], 5);
}

}  // namespace
}  // namespace cadre
