#include "server/answer_options.h"

#include <gtest/gtest.h>

#include "server/testing.h"

namespace cadre {
namespace {

using testing_server::Fault;
using testing_server::Served;

class AnswerOptionsTest : public testing::Test {
 protected:
  AnswerOptions Parse(const std::string& more) {
    const OrderedJson body =
        OrderedJson::parse("{\"model\":\"test-model\"" + (more.empty() ? "" : "," + more) + "}");
    Fields fields(body);
    return ParseAnswerOptions(fields, served_.config, {});
  }
  std::string FaultOf(const std::string& more) {
    return Fault([&] { Parse(more); });
  }

  Served served_;
};

TEST_F(AnswerOptionsTest, HasDefaults) {
  const AnswerOptions options = Parse("");
  EXPECT_EQ(options.sampler.temperature, 0.7);
  EXPECT_EQ(options.sampler.top_p, 1);
  EXPECT_EQ(options.sampler.top_k, 0);
  EXPECT_FALSE(options.max_tokens.has_value());
  EXPECT_EQ(options.n, 1);
  EXPECT_TRUE(options.stops.empty());
  EXPECT_FALSE(options.stream);
  EXPECT_FALSE(options.routing);
}

TEST_F(AnswerOptionsTest, ReadsEveryField) {
  const AnswerOptions options = Parse(
      R"("temperature":0,"top_p":0.5,"top_k":7,"min_p":0.1,"presence_penalty":-1,
         "frequency_penalty":2,"repetition_penalty":1.5,"logit_bias":{"5":-100,"6":2.5},"seed":-3,
         "max_tokens":9,"min_tokens":2,"ignore_eos":true,"n":3,"stop":["a",""],"stream":true,
         "stream_options":{"include_usage":true},"experts_per_token":3,"min_expert_prob":0.25,
         "routing":true)");
  EXPECT_EQ(options.sampler.temperature, 0);
  EXPECT_EQ(options.sampler.top_p, 0.5);
  EXPECT_EQ(options.sampler.top_k, 7);
  EXPECT_EQ(options.sampler.min_p, 0.1);
  EXPECT_EQ(options.sampler.presence_penalty, -1);
  EXPECT_EQ(options.sampler.frequency_penalty, 2);
  EXPECT_EQ(options.sampler.repeat_penalty, 1.5);
  EXPECT_EQ(options.sampler.logit_bias,
            (std::vector<std::pair<int32_t, float>>{{5, -100.0f}, {6, 2.5f}}));
  EXPECT_EQ(options.sampler.seed, static_cast<uint64_t>(-3));
  EXPECT_EQ(options.max_tokens, 9);
  EXPECT_EQ(options.min_tokens, 2);
  EXPECT_TRUE(options.ignore_eos);
  EXPECT_EQ(options.n, 3);
  EXPECT_EQ(options.stops, std::vector<std::string>{"a"});
  EXPECT_TRUE(options.stream);
  EXPECT_TRUE(options.include_usage);
  EXPECT_EQ(options.experts_per_token, 3);
  EXPECT_EQ(options.min_expert_prob, 0.25f);
  EXPECT_TRUE(options.routing);
  EXPECT_FALSE(options.prompt_routing);
}

TEST_F(AnswerOptionsTest, TakesNullAsAbsent) {
  for (const char* name : {"temperature",
                           "top_p",
                           "top_k",
                           "min_p",
                           "presence_penalty",
                           "frequency_penalty",
                           "repetition_penalty",
                           "logit_bias",
                           "seed",
                           "random_seed",
                           "max_tokens",
                           "max_completion_tokens",
                           "min_tokens",
                           "ignore_eos",
                           "n",
                           "stop",
                           "stream",
                           "stream_options",
                           "experts_per_token",
                           "min_expert_prob",
                           "routing"}) {
    EXPECT_EQ(FaultOf(fmt::format("\"{}\":null", name)), "none") << name;
  }
}

TEST_F(AnswerOptionsTest, RefusesValuesOutOfRangeByName) {
  const std::vector<std::pair<const char*, std::string>> cases = {
      {R"("temperature":2.1)", "422 temperature less_than_equal"},
      {R"("temperature":-0.1)", "422 temperature greater_than_equal"},
      {R"("temperature":"hot")", "422 temperature float_type"},
      {R"("top_p":1.01)", "422 top_p less_than_equal"},
      {R"("top_p":-1)", "422 top_p greater_than_equal"},
      {R"("min_p":2)", "422 min_p less_than_equal"},
      {R"("top_k":-2)", "422 top_k greater_than_equal"},
      {R"("top_k":1.5)", "422 top_k int_type"},
      {R"("presence_penalty":2.5)", "422 presence_penalty less_than_equal"},
      {R"("frequency_penalty":-2.5)", "422 frequency_penalty greater_than_equal"},
      {R"("repetition_penalty":0)", "422 repetition_penalty greater_than_equal"},
      {R"("max_tokens":-1)", "422 max_tokens greater_than_equal"},
      {R"("max_tokens":"9")", "422 max_tokens int_type"},
      {R"("max_tokens":99999999999999999999)", "422 max_tokens int_type"},
      {R"("max_completion_tokens":-1)", "422 max_completion_tokens greater_than_equal"},
      {R"("min_tokens":5,"max_tokens":4)", "422 min_tokens less_than_equal"},
      {R"("n":0)", "422 n greater_than_equal"},
      {R"("n":129)", "422 n less_than_equal"},
      {R"("seed":1.5)", "422 seed int_type"},
      {R"("random_seed":-1)", "422 random_seed greater_than_equal"},
      {R"("stream":"yes")", "422 stream bool_type"},
      {R"("stream_options":true)", "422 stream_options model_attributes_type"},
      {R"("stream_options":{"include_usage":1})", "422 stream_options.include_usage bool_type"},
      {R"("stop":5)", "422 stop string_type"},
      {R"("stop":["a",5])", "422 stop.1 string_type"},
      {R"("logit_bias":[])", "422 logit_bias dict_type"},
      {R"("logit_bias":{"x":1})", "422 logit_bias.x int_parsing"},
      {R"("logit_bias":{"-1":1})", "422 logit_bias.-1 int_parsing"},
      {R"("logit_bias":{"99999":1})", "422 logit_bias.99999 int_parsing"},
      {R"("logit_bias":{"1":1,"01":1})", "422 logit_bias.01 int_parsing"},
      {R"("logit_bias":{"1":101})", "422 logit_bias.1 float_type"},
      {R"("logit_bias":{"1":"x"})", "422 logit_bias.1 float_type"},
      {R"("experts_per_token":0)", "422 experts_per_token greater_than_equal"},
      {R"("experts_per_token":5)", "422 experts_per_token less_than_equal"},
      {R"("min_expert_prob":1.5)", "422 min_expert_prob less_than_equal"},
      {R"("routing":"some")", "422 routing bool_type"},
  };
  for (const auto& [more, fault] : cases) EXPECT_EQ(FaultOf(more), fault) << more;
}

TEST_F(AnswerOptionsTest, TakesTheEdgesOfEachRange) {
  for (const char* more :
       {R"("temperature":0)", R"("temperature":2)", R"("top_p":0)", R"("top_p":1)", R"("top_k":-1)",
        R"("max_tokens":0)", R"("max_tokens":5.0)", R"("n":128)", R"("random_seed":0)",
        R"("seed":-9223372036854775808)", R"("experts_per_token":4)", R"("stop":"")",
        R"("stop":[])", R"("unknown_field":{"x":1})"}) {
    EXPECT_EQ(FaultOf(more), "none") << more;
  }
}

TEST_F(AnswerOptionsTest, RefusesManyAndLongStopStrings) {
  EXPECT_EQ(FaultOf("\"stop\":\"" + std::string(1025, 'x') + "\""), "422 stop string_too_long");
  std::string many = "\"stop\":[\"a\"";
  for (int i = 0; i < 64; ++i) many += ",\"a\"";
  EXPECT_EQ(FaultOf(many + "]"), "422 stop too_long");
}

TEST_F(AnswerOptionsTest, PrefersTheNewerNamesOfFields) {
  EXPECT_EQ(Parse(R"("max_tokens":5,"max_completion_tokens":6)").max_tokens, 6);
  EXPECT_EQ(Parse(R"("random_seed":5)").sampler.seed, 5u);
  EXPECT_EQ(Parse(R"("random_seed":5,"seed":6)").sampler.seed, 6u);
}

TEST_F(AnswerOptionsTest, TakesAnotherSeedEachTimeWhereNoneIsGiven) {
  EXPECT_NE(Parse("").sampler.seed, Parse("").sampler.seed);
}

TEST_F(AnswerOptionsTest, GivesEachAnswerASeedOfItsOwnThatTheFirstOneDecides) {
  const AnswerOptions options = Parse(R"("seed":7,"n":3)");
  const auto seed = [&](int64_t i) {
    return MakeRequest(options, served_.config, {1}, i).sampler.seed;
  };
  EXPECT_EQ(seed(0), 7u);
  EXPECT_NE(seed(1), seed(0));
  EXPECT_NE(seed(2), seed(1));
  EXPECT_EQ(seed(1), seed(1));
}

TEST_F(AnswerOptionsTest, KeepsTheAnswerWithinTheContext) {
  const std::vector<int32_t> prompt(2000, 5);
  EXPECT_EQ(MakeRequest(Parse(R"("max_tokens":1000)"), served_.config, prompt, 0).max_tokens, 48);
  EXPECT_EQ(MakeRequest(Parse(""), served_.config, prompt, 0).max_tokens, 48);
  EXPECT_EQ(MakeRequest(Parse(R"("max_tokens":0)"), served_.config, prompt, 0).max_tokens, 0);
  EXPECT_EQ(Fault([] { CheckPromptFits(2049, 2048, "messages"); }),
            "400 messages context_length_exceeded");
  EXPECT_EQ(Fault([] { CheckPromptFits(2048, 2048, "messages"); }), "none");
}

TEST_F(AnswerOptionsTest, FindsTheModelByWhateverNameAndNoOther) {
  for (const char* name : {"test-model", "TEST-MODEL", "owner/test-model", "test_model",
                           "test-model.gguf", "mistral-tiny", "Mistral Tiny"}) {
    EXPECT_TRUE(served_.config.Serves(name)) << name;
  }
  for (const char* name : {"", "test", "gpt-4", "test-model-2", "/"})
    EXPECT_FALSE(served_.config.Serves(name)) << name;
  const OrderedJson other = {{"model", "gpt-4"}};
  EXPECT_EQ(Fault([&] {
              Fields fields(other);
              ParseAnswerOptions(fields, served_.config, {});
            }),
            "404 model model_not_found");
  const OrderedJson none = OrderedJson::object();
  EXPECT_EQ(Fault([&] {
              Fields fields(none);
              ParseAnswerOptions(fields, served_.config, {});
            }),
            "422 model missing");
}

}  // namespace
}  // namespace cadre
