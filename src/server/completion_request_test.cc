#include "server/completion_request.h"

#include <gtest/gtest.h>

#include "server/embeddings.h"
#include "server/testing.h"

namespace cadre {
namespace {

using testing_server::Fault;
using testing_server::Served;

class CompletionRequestTest : public testing::Test {
 protected:
  static OrderedJson Body(const std::string& more) {
    return OrderedJson::parse("{\"model\":\"test-model\"" + (more.empty() ? "" : "," + more) + "}");
  }
  CompletionRequest Parse(const std::string& more) {
    return ParseCompletionRequest(Body(more), served_.config);
  }
  std::string FaultOf(const std::string& more) {
    return Fault([&] { Parse(more); });
  }

  Served served_{std::nullopt};
};

TEST_F(CompletionRequestTest, HasTheDialectsDefaults) {
  const CompletionRequest request = Parse(R"("prompt":"hi")");
  EXPECT_EQ(request.options.max_tokens, 16);
  EXPECT_EQ(request.options.sampler.temperature, 1);
  EXPECT_EQ(request.best_of, 1);
  EXPECT_FALSE(request.echo);
  EXPECT_EQ(request.top_logprobs, -1);
}

TEST_F(CompletionRequestTest, TakesTextsAndIds) {
  std::vector<int32_t> hi = {1};
  for (const int32_t id : served_.tokenizer.Encode("hi")) hi.push_back(id);
  EXPECT_EQ(Parse(R"("prompt":"hi")").prompts, std::vector<std::vector<int32_t>>{hi});
  EXPECT_EQ(Parse(R"("prompt":["hi","hi"])").prompts, (std::vector<std::vector<int32_t>>{hi, hi}));
  EXPECT_EQ(Parse(R"("prompt":[5,6])").prompts, (std::vector<std::vector<int32_t>>{{5, 6}}));
  EXPECT_EQ(Parse(R"("prompt":[[5],[6,7]])").prompts,
            (std::vector<std::vector<int32_t>>{{5}, {6, 7}}));
  EXPECT_EQ(Parse(R"("prompt":null)").prompts, std::vector<std::vector<int32_t>>{{1}});
  EXPECT_EQ(Parse(R"("prompt":"")").prompts, std::vector<std::vector<int32_t>>{{1}});
  EXPECT_EQ(Parse(R"("prompt":["hi"])").prompt_texts, std::vector<std::string>{"hi"});
}

TEST_F(CompletionRequestTest, RefusesWrongFieldsByName) {
  const std::vector<std::pair<const char*, const char*>> cases = {
      {R"("prompt":5)", "422 prompt string_type"},
      {R"("prompt":{})", "422 prompt string_type"},
      {R"("prompt":[])", "422 prompt too_short"},
      {R"("prompt":[[]])", "422 prompt.0 too_short"},
      {R"("prompt":["a",{}])", "422 prompt.1 string_type"},
      {R"("prompt":[1,"a"])", "422 prompt.1 int_type"},
      {R"("prompt":[1,-1])", "422 prompt.1 int_type"},
      {R"("prompt":[1,999999])", "422 prompt.1 int_type"},
      {R"("prompt":[1,18446744073709551615])", "422 prompt.1 int_type"},
      {R"("prompt":[[1],[1.5]])", "422 prompt.1.0 int_type"},
      {R"("logprobs":21)", "422 logprobs less_than_equal"},
      {R"("logprobs":true)", "422 logprobs int_type"},
      {R"("echo":1)", "422 echo bool_type"},
      {R"("n":3,"best_of":2)", "422 best_of greater_than_equal"},
      {R"("best_of":2,"stream":true)", "422 best_of value_error"},
      {R"("best_of":-1)", "422 best_of greater_than_equal"},
      {R"("suffix":"x")", "400 suffix suffix_not_supported"},
      {R"("suffix":5)", "422 suffix string_type"},
  };
  for (const auto& [more, fault] : cases) EXPECT_EQ(FaultOf(more), fault) << more;
  for (const char* more : {R"("suffix":null)", R"("suffix":"")", R"("best_of":0)", R"("best_of":4)",
                           R"("logprobs":0)", R"("user":"x")"}) {
    EXPECT_EQ(FaultOf(more), "none") << more;
  }
}

TEST_F(CompletionRequestTest, RefusesPromptsThatAreTooLongOrTooMany) {
  EXPECT_EQ(FaultOf("\"prompt\":\"" + std::string(3000, 'a') + "\""),
            "400 prompt context_length_exceeded");
  std::string many = "\"prompt\":[\"a\"";
  for (int i = 0; i < 40; ++i) many += ",\"a\"";
  EXPECT_EQ(FaultOf(many + "],\"n\":128"), "422 prompt too_long");
}

TEST_F(CompletionRequestTest, EmbeddingsTakeWhatClientsSend) {
  const auto parse = [&](const std::string& more) {
    return ParseEmbeddingRequest(Body(more), served_.config);
  };
  const auto fault = [&](const std::string& more) { return Fault([&] { parse(more); }); };
  EXPECT_EQ(parse(R"("input":["a","b"])").inputs.size(), 2u);
  EXPECT_FALSE(parse(R"("input":"a")").base64);
  EXPECT_TRUE(parse(R"("input":"a","encoding_format":"base64")").base64);
  EXPECT_EQ(fault(R"("input":"a","dimensions":64,"output_dtype":"float")"), "none");
  EXPECT_EQ(fault(R"("input":"a","dimensions":32)"), "422 dimensions value_error");
  EXPECT_EQ(fault(R"("input":"a","output_dimension":32)"), "422 output_dimension value_error");
  EXPECT_EQ(fault(R"("input":"a","output_dtype":"int8")"), "422 output_dtype literal_error");
  EXPECT_EQ(fault(R"("input":"a","encoding_format":"hex")"), "422 encoding_format literal_error");
  EXPECT_EQ(fault(R"("input":"")"), "422 input string_too_short");
  EXPECT_EQ(fault(R"("input":["a",""])"), "422 input.1 string_too_short");
  EXPECT_EQ(fault(R"("input":null)"), "422 input missing");
  EXPECT_EQ(fault(R"("user":"a")"), "422 input missing");
}

TEST(Base64OfFloats, IsLittleEndian) {
  EXPECT_EQ(Base64OfFloats({1.0f}), "AACAPw==");
  EXPECT_EQ(Base64OfFloats({1.0f, -2.0f, 0.5f}), "AACAPwAAAMAAAAA/");
  EXPECT_EQ(Base64OfFloats({}), "");
}

}  // namespace
}  // namespace cadre
