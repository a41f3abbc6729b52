#include "server/api.h"

#include <gtest/gtest.h>

#include <set>

#include "server/testing.h"

namespace cadre {
namespace {

using testing_server::FakeReply;
using testing_server::Served;

// The whole API over a small random model.
class ApiTest : public testing::Test {
 protected:
  explicit ApiTest(std::optional<ChatVersion> version = ChatVersion::kV3, EngineConfig engine = {})
      : served_(version),
        experts_(served_.small.model.weights),
        engine_(served_.small.model, experts_, *device_, served_.tokenizer, Within(engine)),
        api_(served_.config, engine_) {}
  ~ApiTest() override { api_.Stop(); }

  static EngineConfig Within(EngineConfig config) {
    config.context_length = 2048;
    config.kv_bytes = int64_t{32} << 20;
    return config;
  }

  std::shared_ptr<FakeReply> Send(const std::string& method, const std::string& path,
                                  const std::string& body = "") {
    auto reply = std::make_shared<FakeReply>();
    HttpRequest request;
    request.method = method;
    request.path = path;
    request.body = body;
    api_.Handle(std::move(request), reply);
    return reply;
  }
  std::shared_ptr<FakeReply> Ask(const std::string& method, const std::string& path,
                                 const std::string& body = "") {
    auto reply = Send(method, path, body);
    EXPECT_TRUE(reply->Wait()) << path;
    EXPECT_EQ(reply->num_answers(), 1);
    return reply;
  }
  // A chat with these members beside model and messages.
  std::shared_ptr<FakeReply> Chat(const std::string& more) {
    return Ask("POST", kChat, Body(more));
  }
  static std::string Body(const std::string& more) {
    Json body = Json::parse(
        R"({"model":"test-model","messages":[{"role":"user","content":"hello there"}],"seed":5,
            "max_tokens":12,"min_tokens":12})");
    body.update(Json::parse("{" + more + "}"));
    return body.dump();
  }
  static constexpr const char* kChat = "/v1/chat/completions";

  Served served_;
  ResidentExperts experts_;
  std::unique_ptr<Device> device_ = MakeReferenceDevice();
  Engine engine_;
  Api api_;
};

class BaseModelApiTest : public ApiTest {
 protected:
  BaseModelApiTest() : ApiTest(std::nullopt) {}
};

class FullApiTest : public ApiTest {
 protected:
  FullApiTest() : ApiTest(ChatVersion::kV3, OnePlace()) {}

  static EngineConfig OnePlace() {
    EngineConfig config;
    config.max_running = 1;
    config.max_queued = 1;
    return config;
  }
};

TEST_F(ApiTest, AnswersAChat) {
  const auto reply = Chat("");
  ASSERT_EQ(reply->status(), 200) << reply->body();
  const Json body = reply->json();
  EXPECT_EQ(body["usage"]["completion_tokens"], 12);
  EXPECT_EQ(body["choices"][0]["finish_reason"], "length");
  EXPECT_TRUE(body["id"].get<std::string>().starts_with("chatcmpl-"));
  EXPECT_EQ(body["model"], "test-model");
  EXPECT_NE(body["id"], Chat("")->json()["id"]);
}

TEST_F(ApiTest, StreamsTheSameTextThatItAnswersWhole) {
  const std::string whole = Chat("")->json()["choices"][0]["message"]["content"];
  const auto reply = Chat(R"("stream":true)");
  std::string streamed;
  for (const Json& event : reply->events()) {
    ASSERT_TRUE(event.is_object()) << reply->body();
    streamed += event["choices"][0]["delta"].value("content", "");
  }
  EXPECT_EQ(streamed, whole);
  EXPECT_FALSE(whole.empty());
}

TEST_F(ApiTest, GivesTheFirstOfManyAnswersTheSeedItself) {
  const std::string alone = Chat("\"temperature\":1.5")->json()["choices"][0]["message"]["content"];
  const Json three = Chat(R"("temperature":1.5,"n":3)")->json();
  ASSERT_EQ(three["choices"].size(), 3u);
  EXPECT_EQ(three["choices"][0]["message"]["content"], alone);
  EXPECT_NE(three["choices"][1]["message"]["content"], alone);
  EXPECT_EQ(three["choices"], Chat(R"("temperature":1.5,"n":3)")->json()["choices"]);
  EXPECT_EQ(three["usage"]["completion_tokens"], 36);
}

TEST_F(ApiTest, TakesMoreAnswersThanTheEngineHasPlacesFor) {
  const auto reply = Ask("POST", "/v1/completions",
                         R"({"model":"test-model","prompt":["a","b","c"],"n":128,"max_tokens":1})");
  ASSERT_EQ(reply->status(), 200) << reply->body();
  EXPECT_EQ(reply->json()["choices"].size(), 384u);
}

TEST_F(ApiTest, TellsLogprobsAndExperts) {
  const Json choice =
      Chat(R"("logprobs":true,"top_logprobs":3,"routing":"all")")->json()["choices"][0];
  ASSERT_EQ(choice["logprobs"]["content"].size(), 12u);
  for (const Json& token : choice["logprobs"]["content"]) {
    EXPECT_EQ(token["top_logprobs"].size(), 3u);
    EXPECT_LE(token["logprob"], 0);
  }
  ASSERT_EQ(choice["routing"]["tokens"].size(), 12u);
  EXPECT_EQ(choice["routing"]["tokens"][0]["experts"].size(), 2u);
  EXPECT_EQ(choice["routing"]["tokens"][0]["experts"][0].size(), 2u);
  EXPECT_EQ(choice["routing"]["tokens"][0]["entropy"].size(), 2u);
  EXPECT_EQ(choice["routing"]["prompt"][0]["experts"].size(), 2u);
}

TEST_F(ApiTest, UsesAsManyExpertsAsItIsTold) {
  const Json body = Chat(R"("experts_per_token":3,"routing":true)")->json();
  EXPECT_EQ(body["usage"]["experts_per_token"], 3.0);
  EXPECT_EQ(body["choices"][0]["routing"]["tokens"][0]["experts"][0].size(), 3u);
  EXPECT_EQ(Chat("")->json()["usage"]["experts_per_token"], 2.0);
}

TEST_F(ApiTest, TellsThePromptAloneWhereNoTokenIsWanted) {
  const auto reply =
      Ask("POST", kChat,
          R"({"model":"test-model","messages":[{"role":"user","content":"hi"}],"max_tokens":0})");
  EXPECT_EQ(reply->json()["choices"][0]["message"]["content"], "");
  EXPECT_EQ(reply->json()["choices"][0]["finish_reason"], "length");
  EXPECT_EQ(reply->json()["usage"]["completion_tokens"], 0);
}

TEST_F(ApiTest, HoldsAnswersToASchema) {
  const Json body =
      Chat(R"("max_tokens":200,"min_tokens":0,"response_format":{"type":"json_schema","json_schema":
            {"name":"n","schema":{"type":"object","properties":{"ok":{"type":"boolean"}},
            "required":["ok"],"additionalProperties":false}}})")
          ->json();
  const std::string content = body["choices"][0]["message"]["content"];
  EXPECT_TRUE(Json::parse(content)["ok"].is_boolean()) << content;
  EXPECT_EQ(body["choices"][0]["finish_reason"], "stop");
}

TEST_F(ApiTest, HoldsAnswersToARegularExpression) {
  const Json body = Chat(R"x("min_tokens":0,"regex":"(yes|no)")x")->json();
  const std::string content = body["choices"][0]["message"]["content"];
  EXPECT_TRUE(content == "yes" || content == "no") << content;
}

TEST_F(ApiTest, RefusesASchemaThatItCannotEnforce) {
  const auto reply = Chat(
      R"("response_format":{"type":"json_schema","json_schema":{"name":"n","schema":
            {"type":"object","properties":{"x":{"type":"unheard-of"}}}}})");
  EXPECT_EQ(reply->status(), 400) << reply->body();
  EXPECT_EQ(reply->json()["param"], "response_format");
  EXPECT_NE(reply->json()["message"].get<std::string>().find("/properties/x"), std::string::npos);
  EXPECT_EQ(Chat(R"("regex":"(")")->status(), 400);
}

TEST_F(ApiTest, CallsTheFunctionThatItMustCall) {
  const std::string tools =
      R"("max_tokens":300,"min_tokens":0,"parallel_tool_calls":false,"tools":[
        {"type":"function","function":{"name":"f","parameters":{"type":"object","properties":
        {"x":{"type":"boolean"}},"required":["x"],"additionalProperties":false}}},
        {"type":"function","function":{"name":"g"}}],)"
      R"("tool_choice":{"type":"function","function":{"name":"f"}})";
  const auto reply = Chat(tools);
  ASSERT_EQ(reply->status(), 200) << reply->body();
  const Json choice = reply->json()["choices"][0];
  EXPECT_EQ(choice["finish_reason"], "tool_calls");
  ASSERT_EQ(choice["message"]["tool_calls"].size(), 1u) << reply->body();
  const Json& function = choice["message"]["tool_calls"][0]["function"];
  EXPECT_EQ(function["name"], "f");
  EXPECT_TRUE(Json::parse(function["arguments"].get<std::string>())["x"].is_boolean());

  Json streamed;
  for (const Json& event : Chat(tools + R"(,"stream":true,"routing":true)")->events()) {
    const Json& delta = event["choices"][0]["delta"];
    if (delta.contains("tool_calls")) streamed = delta["tool_calls"];
    EXPECT_EQ(delta.value("content", ""), "");
  }
  EXPECT_EQ(streamed[0]["function"], function);
}

TEST_F(ApiTest, CompletesTexts) {
  const auto reply =
      Ask("POST", "/v1/completions",
          R"({"model":"test-model","prompt":"one two","echo":true,"logprobs":2,"max_tokens":4,
              "min_tokens":4,"seed":1})");
  ASSERT_EQ(reply->status(), 200) << reply->body();
  const Json choice = reply->json()["choices"][0];
  EXPECT_TRUE(choice["text"].get<std::string>().starts_with("one two"));
  const size_t num_prompt = reply->json()["usage"]["prompt_tokens"];
  EXPECT_EQ(choice["logprobs"]["tokens"].size(), num_prompt + 4);
  EXPECT_TRUE(choice["logprobs"]["token_logprobs"][0].is_null());
  EXPECT_TRUE(choice["logprobs"]["token_logprobs"][1].is_number());
}

TEST_F(ApiTest, FillsInTheMiddle) {
  const auto reply = Ask("POST", "/v1/fim/completions",
                         R"({"model":"test-model","prompt":"a","suffix":"b","max_tokens":3})");
  EXPECT_EQ(reply->status(), 200) << reply->body();
  EXPECT_EQ(reply->json()["object"], "chat.completion");
}

TEST_F(ApiTest, EmbedsTextsAsUnitVectors) {
  const auto reply = Ask("POST", "/v1/embeddings", R"({"model":"test-model","input":["a b","c"]})");
  ASSERT_EQ(reply->status(), 200) << reply->body();
  const Json body = reply->json();
  EXPECT_EQ(body["object"], "list");
  ASSERT_EQ(body["data"].size(), 2u);
  const std::vector<double> vector = body["data"][1]["embedding"];
  EXPECT_EQ(body["data"][1]["index"], 1);
  EXPECT_EQ(vector.size(), 64u);
  double norm = 0;
  for (const double value : vector) norm += value * value;
  EXPECT_NEAR(norm, 1, 1e-5);
  EXPECT_TRUE(body.contains("id"));
  EXPECT_EQ(body["usage"]["completion_tokens"], 0);
  EXPECT_GT(body["usage"]["prompt_tokens"], 2);
  const auto encoded = Ask("POST", "/v1/embeddings",
                           R"({"model":"test-model","input":"c","encoding_format":"base64"})");
  std::vector<float> floats;
  for (const double value : vector) floats.push_back(static_cast<float>(value));
  EXPECT_EQ(encoded->json()["data"][0]["embedding"].get<std::string>().size(), 344u);
}

TEST_F(ApiTest, ModeratesWithOneOfItsWords) {
  const auto reply = Ask("POST", "/v1/moderations", R"({"input":["hello","you fool"]})");
  ASSERT_EQ(reply->status(), 200) << reply->body();
  const Json results = reply->json()["results"];
  ASSERT_EQ(results.size(), 2u);
  double sum = 0;
  int chosen = 0;
  for (const auto& [name, score] : results[0]["category_scores"].items())
    sum += score.get<double>();
  for (const auto& [name, flag] : results[0]["categories"].items())
    chosen += flag.get<bool>() ? 1 : 0;
  EXPECT_EQ(results[0]["categories"].size(), 13u);
  EXPECT_LE(sum, 1 + 1e-9);
  EXPECT_EQ(chosen, results[0]["flagged"].get<bool>() ? 1 : 0);
}

TEST_F(BaseModelApiTest, RefusesWhatOnlyInstructModelsDo) {
  EXPECT_EQ(Chat("")->status(), 400);
  EXPECT_EQ(Ask("POST", "/v1/moderations", R"({"input":"x"})")->status(), 400);
  EXPECT_EQ(Ask("POST", "/v1/fim/completions", R"({"model":"test-model","prompt":"a"})")->status(),
            400);
  EXPECT_EQ(Ask("POST", "/v1/completions", R"({"model":"test-model","prompt":"a"})")->status(),
            200);
  const Json capabilities = Ask("GET", "/v1/models")->json()["data"][0]["capabilities"];
  EXPECT_EQ(capabilities["completion_chat"], false);
  EXPECT_EQ(capabilities["function_calling"], false);
}

TEST_F(ApiTest, ListsItsModelUnderEveryName) {
  const Json body = Ask("GET", "/v1/models")->json();
  EXPECT_EQ(body["object"], "list");
  ASSERT_EQ(body["data"].size(), 2u);
  const Json& model = body["data"][0];
  EXPECT_EQ(model["id"], "test-model");
  EXPECT_EQ(model["object"], "model");
  EXPECT_EQ(model["created"], 1700000000);
  EXPECT_EQ(model["type"], "base");
  EXPECT_TRUE(model["deprecation"].is_null());
  EXPECT_EQ(model["max_context_length"], 2048);
  EXPECT_EQ(model["capabilities"]["completion_chat"], true);
  EXPECT_EQ(model["capabilities"]["function_calling"], true);
  EXPECT_EQ(model["cadre"]["layers"], 2);
  EXPECT_EQ(model["cadre"]["experts"], 4);
  EXPECT_EQ(body["data"][1]["id"], "mistral-tiny");
  EXPECT_EQ(Ask("GET", "/v1/models/mistral-tiny")->json()["id"], "mistral-tiny");
  EXPECT_EQ(Ask("GET", "/v1/models/owner/test-model")->status(), 200);
  const auto unknown = Ask("GET", "/v1/models/gpt-4");
  EXPECT_EQ(unknown->status(), 404);
  EXPECT_EQ(unknown->json()["error"]["code"], "model_not_found");
}

TEST_F(ApiTest, TurnsTextIntoIdsAndBack) {
  const Json tokens = Ask("POST", "/tokenize", R"({"prompt":"hi you"})")->json();
  EXPECT_EQ(tokens["tokens"][0], 1);
  EXPECT_EQ(tokens["count"], tokens["tokens"].size());
  const Json bare = Ask("POST", "/v1/tokenize", R"({"content":"hi you"})")->json();
  EXPECT_EQ(bare["count"], tokens["count"].get<int>() - 1);
  EXPECT_EQ(Ask("POST", "/tokenize", R"({"content":"hi","add_special":true})")->json()["tokens"][0],
            1);
  EXPECT_EQ(Ask("POST", "/tokenize", R"({"content":"a","with_pieces":true})")
                ->json()["tokens"][0]["piece"],
            " a");
  const Json text = Ask("POST", "/detokenize", Json{{"tokens", tokens["tokens"]}}.dump())->json();
  EXPECT_EQ(text["prompt"], "hi you");
  const Json chat =
      Ask("POST", "/tokenize", R"({"messages":[{"role":"user","content":"a"}]})")->json();
  EXPECT_EQ(chat["tokens"][1], *served_.config.ControlId("[INST]"));
  EXPECT_EQ(Ask("POST", "/tokenize", "{}")->status(), 422);
  EXPECT_EQ(Ask("POST", "/detokenize", R"({"tokens":[999999]})")->status(), 422);
  EXPECT_EQ(Ask("POST", "/tokenize", R"({"prompt":"a","model":"other"})")->status(), 404);
}

TEST_F(ApiTest, AnswersEveryRouteAndDescribesIt) {
  const Json document = Ask("GET", "/openapi.json")->json();
  EXPECT_EQ(document["openapi"], "3.1.0");
  size_t described = 0;
  for (const auto& [path, operations] : document["paths"].items()) described += operations.size();
  EXPECT_EQ(described, Api::Routes().size());
  for (const ApiRoute& route : Api::Routes()) {
    const char* method = std::string_view(route.method) == "GET" ? "get" : "post";
    EXPECT_TRUE(document["paths"][route.path].contains(method)) << route.path;
    std::string path = route.path;
    if (path.ends_with("{id}")) path.replace(path.size() - 4, 4, "test-model");
    const int status = Ask(route.method, path, "{}")->status();
    EXPECT_TRUE(status == 200 || status == 422) << path << " " << status;
  }
  // Every reference leads somewhere.
  const std::string text = document.dump();
  const std::string mark = "#/components/schemas/";
  for (size_t at = text.find(mark); at != std::string::npos; at = text.find(mark, at + 1)) {
    const size_t begin = at + mark.size();
    const std::string name = text.substr(begin, text.find('"', begin) - begin);
    EXPECT_TRUE(document["components"]["schemas"].contains(name)) << name;
  }
}

TEST_F(ApiTest, DescribesTheErrorsOfWrongWays) {
  const auto nothing = Ask("GET", "/v1/nothing");
  EXPECT_EQ(nothing->status(), 404);
  EXPECT_EQ(nothing->json()["object"], "error");
  EXPECT_EQ(nothing->json()["error"]["type"], "not_found_error");
  EXPECT_EQ(Ask("GET", "/v1/models/")->status(), 404);
  EXPECT_EQ(Ask("POST", "/v1/nothing", "{}")->status(), 404);
  const auto wrong = Ask("GET", kChat);
  EXPECT_EQ(wrong->status(), 405);
  EXPECT_EQ(wrong->header("Allow"), "POST, OPTIONS");
  EXPECT_EQ(Ask("DELETE", "/v1/models")->status(), 405);
  EXPECT_EQ(Ask("DELETE", "/v1/models")->header("Allow"), "GET, HEAD, OPTIONS");
  EXPECT_EQ(Ask("HEAD", "/health")->status(), 200);
  EXPECT_EQ(Ask("OPTIONS", kChat)->status(), 204);
  EXPECT_EQ(Ask("OPTIONS", kChat)->header("Allow"), "POST, OPTIONS");
}

TEST_F(ApiTest, NamesTheFieldThatIsWrongInBothDialects) {
  const auto reply = Chat(R"("temperature":9)");
  EXPECT_EQ(reply->status(), 422);
  const Json body = reply->json();
  EXPECT_EQ(body["error"]["param"], "temperature");
  EXPECT_EQ(body["detail"][0]["loc"], Json({"body", "temperature"}));
  EXPECT_EQ(body["detail"][0]["type"], "less_than_equal");
  EXPECT_EQ(Ask("POST", kChat, "{")->status(), 400);
  EXPECT_EQ(Ask("POST", kChat, "")->status(), 400);
  EXPECT_EQ(Ask("POST", kChat, "[]")->status(), 422);
}

TEST_F(ApiTest, TellsHealthAndMetrics) {
  Chat("");
  EXPECT_EQ(Ask("GET", "/health")->json()["status"], "ok");
  const auto metrics = Ask("GET", "/metrics");
  EXPECT_TRUE(metrics->content_type().starts_with("text/plain; version=0.0.4"));
  const std::string text = metrics->body();
  EXPECT_NE(text.find("cadre_time_to_first_token_seconds_count 1"), std::string::npos) << text;
  EXPECT_NE(text.find("route=\"/v1/chat/completions\",status=\"200\"} 1"), std::string::npos);
  EXPECT_NE(text.find("cadre_expert_tokens_total{layer=\"1\",expert=\"3\"}"), std::string::npos);
}

TEST_F(FullApiTest, RefusesWhatTheQueueCannotHold) {
  const std::string endless =
      R"({"model":"test-model","prompt":"a","max_tokens":2000,"min_tokens":2000})";
  const auto running = Send("POST", "/v1/completions", endless);
  const auto waiting = Send("POST", "/v1/completions", endless);
  // Both have their places once the engine counts two.
  while (engine_.stats().requests < 2) std::this_thread::yield();
  const auto refused = Ask("POST", "/v1/completions", endless);
  EXPECT_EQ(refused->status(), 429);
  EXPECT_EQ(refused->header("Retry-After"), "1");
  EXPECT_EQ(refused->json()["error"]["type"], "rate_limit_error");
  running->Leave();
  waiting->Leave();
  while (engine_.stats().cancelled < 2) std::this_thread::yield();
  EXPECT_EQ(Ask("POST", "/v1/completions", R"({"model":"test-model","prompt":"a"})")->status(),
            200);
}

TEST_F(FullApiTest, FeedsManyPromptsThroughFewPlaces) {
  const auto reply = Ask("POST", "/v1/completions",
                         R"({"model":"test-model","prompt":"a","n":20,"max_tokens":2})");
  ASSERT_EQ(reply->status(), 200) << reply->body();
  EXPECT_EQ(reply->json()["choices"].size(), 20u);
}

TEST_F(ApiTest, CancelsWhatAClientThatWentHadAskedFor) {
  const auto reply = Send(
      "POST", "/v1/completions",
      R"({"model":"test-model","prompt":"a","n":4,"max_tokens":2000,"min_tokens":2000,"stream":true})");
  ASSERT_TRUE(reply->WaitForBytes(1));
  reply->Leave();
  while (engine_.stats().cancelled < 4) std::this_thread::yield();
  EXPECT_EQ(engine_.stats().running, 0);
}

TEST_F(ApiTest, WaitsForASlowReaderAndGoesOn) {
  const auto reply = Send("POST", "/v1/completions",
                          R"({"model":"test-model","prompt":"a","max_tokens":400,"min_tokens":400,
                              "stream":true,"seed":3})");
  reply->SetUnsent(1 << 20);
  // Nobody reads: after a moment nothing more is written.
  size_t bytes = 1;
  for (size_t before = 0; bytes != before || bytes == 0;) {
    before = bytes;
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    bytes = reply->body().size();
  }
  EXPECT_FALSE(reply->complete());
  reply->SetUnsent(0);
  ASSERT_TRUE(reply->Wait());
  EXPECT_EQ(reply->events().back()["usage"]["completion_tokens"], 400);
}

TEST_F(ApiTest, SaysThatItIsStopping) {
  engine_.Drain(1);
  const auto reply = Chat("");
  EXPECT_EQ(reply->status(), 503);
  EXPECT_EQ(reply->header("Retry-After"), "1");
}

TEST_F(ApiTest, EndsAnAnswerThatTheServerCannotFinish) {
  const auto stream = Send("POST", "/v1/completions",
                           R"({"model":"test-model","prompt":"a","max_tokens":2000,
                               "min_tokens":2000,"stream":true})");
  const auto whole = Send("POST", "/v1/completions",
                          R"({"model":"test-model","prompt":"a","max_tokens":2000,
                              "min_tokens":2000})");
  ASSERT_TRUE(stream->WaitForBytes(1));
  while (engine_.stats().requests < 2) std::this_thread::yield();
  engine_.Drain(0);
  ASSERT_TRUE(stream->Wait());
  ASSERT_TRUE(whole->Wait());
  EXPECT_EQ(stream->events().back()["error"]["type"], "server_error");
  EXPECT_EQ(whole->status(), 503);
}

}  // namespace
}  // namespace cadre
