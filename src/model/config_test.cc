#include "model/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "base/json.h"
#include "base/testing.h"
#include "model/config_files.h"

namespace cadre {
namespace {

using base_testing::ErrorOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

Json SmallMixtral() {
  return {{"model_type", "mixtral"},  {"hidden_size", 64},
          {"intermediate_size", 32},  {"num_hidden_layers", 2},
          {"num_attention_heads", 4}, {"num_key_value_heads", 2},
          {"vocab_size", 96},         {"max_position_embeddings", 128},
          {"rope_theta", 50000.0},    {"num_local_experts", 4},
          {"num_experts_per_tok", 2}, {"eos_token_id", 2}};
}

ModelConfig Read(const Json& json) { return ConfigFromJson(json, "config.json"); }

ModelConfig ReadWith(const char* key, Json value) {
  Json json = SmallMixtral();
  json[key] = std::move(value);
  return Read(json);
}

ModelConfig Mixtral8x7B() {
  return Read(
      {{"model_type", "mixtral"}, {"max_position_embeddings", 32768}, {"sliding_window", nullptr}});
}

ModelConfig Mixtral8x22B() {
  return Read({{"model_type", "mixtral"},
               {"hidden_size", 6144},
               {"intermediate_size", 16384},
               {"num_hidden_layers", 56},
               {"num_attention_heads", 48},
               {"num_key_value_heads", 8},
               {"vocab_size", 32768},
               {"max_position_embeddings", 65536},
               {"rope_theta", 1e6}});
}

TEST(ConfigFromJson, TakesTheDefaultsOfTheClassForAbsentKeys) {
  const auto mixtral = Read({{"model_type", "mixtral"}});
  EXPECT_EQ(mixtral.dim, 4096);
  EXPECT_EQ(mixtral.hidden_dim, 14336);
  EXPECT_EQ(mixtral.num_layers, 32);
  EXPECT_EQ(mixtral.num_heads, 32);
  EXPECT_EQ(mixtral.num_kv_heads, 8);
  EXPECT_EQ(mixtral.head_dim, 128);
  EXPECT_EQ(mixtral.vocab_size, 32000);
  EXPECT_EQ(mixtral.context_length, 131072);
  EXPECT_EQ(mixtral.rms_norm_eps, 1e-5f);
  EXPECT_EQ(mixtral.rope_theta, 1e6);
  EXPECT_EQ(mixtral.sliding_window, 0);
  EXPECT_EQ(mixtral.router.num_experts, 8);
  EXPECT_EQ(mixtral.router.top_k, 2);
  EXPECT_EQ(mixtral.router_aux_loss_coef, 0.001);
  EXPECT_FALSE(mixtral.tie_embeddings);
  EXPECT_EQ(mixtral.bos_id, 1);
  EXPECT_EQ(mixtral.eos_ids, std::vector<int32_t>{2});
  EXPECT_EQ(mixtral.rope_layout, RopeLayout::kHalfSplit);

  const auto mistral = Read({{"model_type", "mistral"}});
  EXPECT_EQ(mistral.rms_norm_eps, 1e-6f);
  EXPECT_EQ(mistral.sliding_window, 4096);
  EXPECT_TRUE(mistral.router.dense());
}

Json Unnormalised() {
  Json json = SmallMixtral();
  json["model_type"] = "cadre_moe";
  json["num_experts_per_tok"] = 1;
  json["norm_topk_prob"] = false;
  return json;
}

TEST(ConfigFromJson, KnowsAModelWhoseGatesAreNotRenormalised) {
  const ModelConfig config = Read(Unnormalised());
  EXPECT_TRUE(config.router.unnormalised());
  EXPECT_EQ(config.router.top_k, 1);
  EXPECT_EQ(config.router.capacity_factor, 0);
  EXPECT_FALSE(config.router.noise);
  const Json written = Json::parse(ConfigToJson(config).dump());
  EXPECT_EQ(written["model_type"], "cadre_moe");
  EXPECT_EQ(written["norm_topk_prob"], false);
  EXPECT_TRUE(Read(written).router.unnormalised());
  EXPECT_FALSE(Read(SmallMixtral()).router.unnormalised());
  EXPECT_FALSE(Json::parse(ConfigToJson(Read(SmallMixtral())).dump()).contains("norm_topk_prob"));
}

TEST(ConfigFromJson, RefusesGatesThatItsArchitectureDoesNotHave) {
  EXPECT_THAT(ErrorOf([] { ReadWith("norm_topk_prob", false); }),
              HasSubstr("norm_topk_prob is false but mixtral gates are always renormalised"));
  EXPECT_TRUE(ReadWith("norm_topk_prob", true).router.num_experts == 4);
  Json json = Unnormalised();
  json["norm_topk_prob"] = true;
  EXPECT_THAT(ErrorOf([&] { Read(json); }), HasSubstr("norm_topk_prob is true"));
  json = Unnormalised();
  json["num_local_experts"] = 1;
  EXPECT_THAT(ErrorOf([&] { Read(json); }), HasSubstr("number of experts is 1"));
}

TEST(ConfigFromJson, TellsAnAbsentWindowFromNone) {
  EXPECT_EQ(Read({{"model_type", "mistral"}, {"sliding_window", nullptr}}).sliding_window, 0);
  EXPECT_EQ(Read({{"model_type", "mistral"}, {"sliding_window", 1024}}).sliding_window, 1024);
  EXPECT_EQ(Read({{"model_type", "mistral"}, {"sliding_window", -1}}).sliding_window, 0);
  EXPECT_EQ(ReadWith("sliding_window", 7).sliding_window, 7);
  EXPECT_EQ(Read(SmallMixtral()).sliding_window, 0);
}

TEST(ConfigFromJson, ReadsNullAsTheDefault) {
  EXPECT_EQ(ReadWith("head_dim", nullptr).head_dim, 16);
  EXPECT_EQ(ReadWith("head_dim", 24).head_dim, 24);
  EXPECT_EQ(ReadWith("num_key_value_heads", nullptr).num_kv_heads, 4);
  EXPECT_EQ(ReadWith("eos_token_id", nullptr).eos_ids, std::vector<int32_t>{2});
  EXPECT_EQ(ReadWith("rope_scaling", nullptr).rope_theta, 50000);
}

TEST(ConfigFromJson, ReadsBothPlacesOfTheta) {
  Json json = SmallMixtral();
  json.erase("rope_theta");
  json["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 123.0}};
  EXPECT_EQ(Read(json).rope_theta, 123);
  json["rope_parameters"] = {{"type", "default"}};
  EXPECT_EQ(Read(json).rope_theta, 1e6);
}

TEST(ConfigFromJson, ReadsOneEndTokenOrSeveral) {
  EXPECT_EQ(ReadWith("eos_token_id", 5).eos_ids, std::vector<int32_t>{5});
  EXPECT_EQ(ReadWith("eos_token_id", {5, 7}).eos_ids, (std::vector<int32_t>{5, 7}));
}

TEST(ConfigFromJson, ReadsTheOtherSpellingOfTheNumberOfExperts) {
  Json json = SmallMixtral();
  json.erase("num_local_experts");
  json["num_experts"] = 16;
  EXPECT_EQ(Read(json).router.num_experts, 16);
}

struct Refusal {
  const char* key;
  Json value;
  const char* named;
};

TEST(ConfigFromJson, RefusesWithTheNameOfFileAndField) {
  const Refusal refusals[] = {
      {"model_type", "gpt2",
       "model_type is 'gpt2' but must be mixtral, mistral, llama or cadre_moe"},
      {"model_type", nullptr, "model_type"},
      {"hidden_act", "gelu", "hidden_act is 'gelu' but must be silu"},
      {"attention_bias", true, "attention_bias"},
      {"mlp_bias", true, "mlp_bias"},
      {"hidden_size", "64", "hidden_size is \"64\""},
      {"hidden_size", 64.5, "hidden_size is 64.5"},
      {"hidden_size", -1, "hidden_size is -1"},
      {"hidden_size", 0, "hidden size is 0"},
      {"hidden_size", int64_t{1} << 30, "hidden size"},
      {"hidden_size", 18446744073709551615u, "hidden_size"},
      {"intermediate_size", 0, "hidden size is 0"},
      {"num_hidden_layers", 0, "layers is 0"},
      {"num_hidden_layers", 100000, "layers is 100000"},
      {"num_attention_heads", 0, "number of heads is 0"},
      {"num_key_value_heads", 0, "key/value heads is 0"},
      {"num_key_value_heads", 3, "4 heads are not a multiple of 3 key/value heads"},
      {"num_key_value_heads", 8, "key/value heads is 8"},
      {"head_dim", 7, "head dimension is 7 but must be even"},
      {"head_dim", 0, "head dimension is 0"},
      {"vocab_size", 0, "vocabulary size is 0"},
      {"max_position_embeddings", 0, "context length is 0"},
      {"rms_norm_eps", "1e-5", "rms_norm_eps"},
      {"rms_norm_eps", -1.0, "rms_norm_eps is -1"},
      {"rope_theta", 0, "rope_theta is 0"},
      {"rope_theta", -1e4, "rope_theta is -10000"},
      {"rope_theta", "1e4", "rope_theta"},
      {"rope_scaling", {{"type", "linear"}, {"factor", 2.0}}, "rope_scaling has type 'linear'"},
      {"rope_parameters", {{"rope_type", "yarn"}}, "rope_parameters has type 'yarn'"},
      {"rope_parameters", Json::array(), "rope_parameters must be an object"},
      {"sliding_window", "all", "sliding_window is \"all\""},
      {"tie_word_embeddings", 1, "tie_word_embeddings"},
      {"num_local_experts", 0, "number of experts is 0"},
      {"num_local_experts", 100000, "number of experts is 100000"},
      {"num_experts_per_tok", 0, "experts per token is 0"},
      {"num_experts_per_tok", 5, "experts per token is 5 but must be from 1 to 4"},
      {"router_aux_loss_coef", "much", "router_aux_loss_coef"},
      {"bos_token_id", -1, "bos_token_id is -1"},
      {"eos_token_id", "</s>", "eos_token_id"},
      {"eos_token_id", 1.5, "eos_token_id"},
      {"eos_token_id", -2, "eos_token_id"},
      {"eos_token_id", {2, "x"}, "eos_token_id"},
      {"eos_token_id", 4294967298, "eos_token_id"},
      {"eos_token_id", {2, 96}, "eos token 96 is outside the vocabulary of 96"},
  };
  for (const auto& refusal : refusals) {
    const std::string error = ErrorOf([&] { ReadWith(refusal.key, refusal.value); });
    EXPECT_THAT(error, StartsWith("config.json: ")) << refusal.key << " " << refusal.value;
    EXPECT_THAT(error, HasSubstr(refusal.named)) << refusal.key << " " << refusal.value;
  }
  EXPECT_THAT(ErrorOf([] { Read(Json::array()); }),
              HasSubstr("config.json: must hold a JSON object"));
}

TEST(ModelConfig, RefusesANegativeWindow) {
  ModelConfig config = Read(SmallMixtral());
  config.sliding_window = -5;  // a GGUF file may say so
  EXPECT_THAT(ErrorOf([&] { config.Validate("a.gguf"); }),
              HasSubstr("a.gguf: sliding window is -5"));
}

TEST(ConfigToJson, IsReadBackTheSame) {
  Json tied = SmallMixtral();
  tied["tie_word_embeddings"] = true;
  tied["eos_token_id"] = {2, 5};
  tied["head_dim"] = 24;
  tied["bos_token_id"] = 3;
  tied["router_aux_loss_coef"] = 0.25;
  const Json mistral = {{"model_type", "mistral"}, {"sliding_window", 77}, {"rms_norm_eps", 3e-6}};
  const Json no_window = {{"model_type", "mistral"}, {"sliding_window", nullptr}};
  for (const Json& json :
       {SmallMixtral(), tied, mistral, no_window, Json{{"model_type", "llama"}}}) {
    const ModelConfig config = Read(json);
    const OrderedJson written = ConfigToJson(config);
    const ModelConfig again = Read(Json::parse(written.dump()));
    EXPECT_EQ(ConfigToJson(again).dump(), written.dump());
    EXPECT_EQ(again.architecture, config.architecture);
    EXPECT_EQ(again.dim, config.dim);
    EXPECT_EQ(again.hidden_dim, config.hidden_dim);
    EXPECT_EQ(again.num_layers, config.num_layers);
    EXPECT_EQ(again.num_heads, config.num_heads);
    EXPECT_EQ(again.num_kv_heads, config.num_kv_heads);
    EXPECT_EQ(again.head_dim, config.head_dim);
    EXPECT_EQ(again.vocab_size, config.vocab_size);
    EXPECT_EQ(again.context_length, config.context_length);
    EXPECT_EQ(again.sliding_window, config.sliding_window);
    EXPECT_EQ(again.rope_theta, config.rope_theta);
    EXPECT_EQ(again.rms_norm_eps, config.rms_norm_eps);
    EXPECT_EQ(again.tie_embeddings, config.tie_embeddings);
    EXPECT_EQ(again.router.num_experts, config.router.num_experts);
    EXPECT_EQ(again.router.top_k, config.router.top_k);
    EXPECT_EQ(again.router_aux_loss_coef, config.router_aux_loss_coef);
    EXPECT_EQ(again.bos_id, config.bos_id);
    EXPECT_EQ(again.eos_ids, config.eos_ids);
  }
}

// Mistral 7B v0.1 has a window and was trained with the smaller theta; its file names none.
TEST(ConfigFromParams, TakesTheThetaThatMistralsCodeTakes) {
  Json params = {{"dim", 64},    {"n_layers", 2},   {"head_dim", 16},   {"hidden_dim", 96},
                 {"n_heads", 4}, {"n_kv_heads", 2}, {"norm_eps", 1e-5}, {"vocab_size", 96}};
  const auto read = [&] { return ConfigFromParams(params, "params.json"); };
  EXPECT_EQ(read().rope_theta, 1e6);
  EXPECT_EQ(read().architecture, "mistral");
  params["sliding_window"] = 32;
  EXPECT_EQ(read().rope_theta, 1e4);
  EXPECT_EQ(read().sliding_window, 32);
  params["rope_theta"] = 5e5;
  EXPECT_EQ(read().rope_theta, 5e5);
  params["moe"] = {{"num_experts", 4}, {"num_experts_per_tok", 2}};
  EXPECT_EQ(read().architecture, "mixtral");
  EXPECT_EQ(ConfigToParams(read()).at("moe").at("num_experts"), 4);
  params["vocab_size"] = -1;
  EXPECT_THROW(read(), Error);
}

// transformers' Llama knows no window.
TEST(ConfigToJson, CallsALlamaWithAWindowMistral) {
  ModelConfig config = Read({{"model_type", "llama"}});
  EXPECT_EQ(ConfigToJson(config).at("model_type"), "llama");
  config.sliding_window = 64;
  EXPECT_EQ(ConfigToJson(config).at("model_type"), "mistral");
}

TEST(ModelConfig, CountsThePublishedParameters) {
  EXPECT_EQ(Mixtral8x7B().TotalParameters(), 46'702'792'704);
  EXPECT_EQ(Mixtral8x7B().ActiveParameters(), 12'879'925'248);
  EXPECT_EQ(Mixtral8x22B().TotalParameters(), 140'630'071'296);
  EXPECT_EQ(Mixtral8x22B().ActiveParameters(), 39'161'468'928);
  const auto mistral = Read({{"model_type", "mistral"}});
  EXPECT_EQ(mistral.TotalParameters(), 7'241'732'096);
  EXPECT_EQ(mistral.ActiveParameters(), 7'241'732'096);
  EXPECT_EQ(Read({{"model_type", "llama"}}).TotalParameters(), 6'738'415'616);
}

TEST(ModelConfig, CountsATiedEmbeddingOnce) {
  ModelConfig config = Read(SmallMixtral());
  const int64_t untied = config.TotalParameters();
  config.tie_embeddings = true;
  EXPECT_EQ(config.TotalParameters(), untied - 96 * 64);
}

TEST(SuspiciousSettings, FindsNothingInPublishedModels) {
  EXPECT_THAT(SuspiciousSettings(Mixtral8x7B()), IsEmpty());
  EXPECT_THAT(SuspiciousSettings(Mixtral8x22B()), IsEmpty());
  EXPECT_THAT(SuspiciousSettings(Read({{"model_type", "mistral"}})), IsEmpty());
  EXPECT_THAT(SuspiciousSettings(Read(
                  {{"model_type", "mistral"}, {"sliding_window", nullptr}, {"rope_theta", 1e6}})),
              IsEmpty());
  EXPECT_THAT(SuspiciousSettings(Read(SmallMixtral())), IsEmpty());
}

TEST(SuspiciousSettings, NamesWhatAPublishedModelHasOtherwise) {
  const auto warning = [](ModelConfig config, auto change) {
    change(config);
    const auto warnings = SuspiciousSettings(config);
    return warnings.size() == 1 ? warnings[0] : fmt::format("{} warnings", warnings.size());
  };
  EXPECT_THAT(warning(Mixtral8x7B(), [](auto& c) { c.rope_theta = 1e4; }),
              HasSubstr("rope theta is 10000"));
  EXPECT_THAT(warning(Mixtral8x7B(), [](auto& c) { c.sliding_window = 4096; }),
              HasSubstr("sliding window is 4096"));
  EXPECT_THAT(warning(Mixtral8x7B(), [](auto& c) { c.vocab_size = 32002; }), HasSubstr("32002"));
  EXPECT_THAT(warning(Mixtral8x22B(), [](auto& c) { c.context_length = 4096; }),
              HasSubstr("context is 4096"));
  EXPECT_THAT(warning(Read({{"model_type", "mistral"}}), [](auto& c) { c.rope_theta = 1e6; }),
              HasSubstr("theta 1000000 with window 4096"));
}

TEST(RopeFrequencies, FallGeometricallyFromOne) {
  const auto frequencies = RopeFrequencies(Read(SmallMixtral()));
  ASSERT_EQ(frequencies.size(), 8u);
  EXPECT_EQ(frequencies[0], 1);
  for (size_t i = 0; i < 8; ++i)
    EXPECT_DOUBLE_EQ(frequencies[i], std::pow(50000.0, -static_cast<double>(i) / 8));
}

}  // namespace
}  // namespace cadre
