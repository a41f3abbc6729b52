#include "train/train_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json.h"
#include "base/testing.h"

namespace cadre {
namespace {

using base_testing::ErrorOf;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

const Json kLeast = {{"data.train", {"a.txt"}}};

TrainConfig Parse(Json json, const std::vector<std::string>& settings = {}) {
  json.update(kLeast);
  return ParseTrainConfig(json, settings, "run.json");
}

std::string ParseError(const Json& json, const std::vector<std::string>& settings = {}) {
  return ErrorOf([&] { Parse(json, settings); });
}

TEST(ParseTrainConfig, HasTheDefaultsItDocuments) {
  const TrainConfig config = Parse(Json::object());
  EXPECT_EQ(config.name, "model");
  EXPECT_EQ(config.seed, 1u);
  EXPECT_EQ(config.model.dim, 256);
  EXPECT_EQ(config.model.hidden_dim, 512);
  EXPECT_EQ(config.model.num_layers, 4);
  EXPECT_EQ(config.model.num_heads, 8);
  EXPECT_EQ(config.model.num_kv_heads, 4);
  EXPECT_EQ(config.model.head_dim, 32);
  EXPECT_EQ(config.model.router.num_experts, 8);
  EXPECT_EQ(config.model.router.top_k, 2);
  EXPECT_EQ(config.model.context_length, 1024);
  EXPECT_EQ(config.model.sliding_window, 0);
  EXPECT_EQ(config.model.rope_theta, 10000);
  EXPECT_EQ(config.model.architecture, "mixtral");
  EXPECT_EQ(config.model.router_aux_loss_coef, 0.02);
  EXPECT_EQ(config.model.vocab_size, 4096);
  EXPECT_EQ(config.tokenizer_vocab, 4096);
  EXPECT_EQ(config.init_sigma, 0.02);
  EXPECT_EQ(config.steps, 1000);
  EXPECT_EQ(config.schedule.steps, 1000);
  EXPECT_EQ(config.schedule.peak, 0.001);
  EXPECT_EQ(config.schedule.final_share, 0.1);
  EXPECT_EQ(config.schedule.warmup_steps, 100);
  EXPECT_EQ(config.batch_tokens, 4096);
  EXPECT_EQ(config.segment_tokens, 512);
  EXPECT_EQ(config.optimiser.beta1, 0.9f);
  EXPECT_EQ(config.optimiser.beta2, 0.95f);
  EXPECT_EQ(config.optimiser.epsilon, 1e-8f);
  EXPECT_EQ(config.optimiser.weight_decay, 0.1f);
  EXPECT_EQ(config.optimiser.clip_norm, 1);
  EXPECT_EQ(config.optimiser.balance_coefficient, 0.02);
  EXPECT_EQ(config.optimiser.dropout.rate, 0);
  EXPECT_EQ(config.checkpoint_every, 200);
  EXPECT_EQ(config.validate_every, 500);
  EXPECT_EQ(config.validate_tokens, 16384);
  EXPECT_EQ(config.gguf_type, DType::kF16);
}

TEST(ParseTrainConfig, ReadsNestedAndDottedKeysAlike) {
  const TrainConfig nested =
      Parse({{"model", {{"dim", 64}, {"heads", 2}, {"kv_heads", 1}}}, {"train", {{"lr", 0.5}}}});
  const TrainConfig dotted =
      Parse({{"model.dim", 64}, {"model.heads", 2}, {"model.kv_heads", 1}, {"train.lr", 0.5}});
  for (const auto& config : {nested, dotted}) {
    EXPECT_EQ(config.model.dim, 64);
    EXPECT_EQ(config.model.head_dim, 32);
    EXPECT_EQ(config.schedule.peak, 0.5);
  }
  EXPECT_EQ(nested.fingerprint, dotted.fingerprint);
}

TEST(ParseTrainConfig, ReadsFilesByGroup) {
  const TrainConfig config = Parse(
      {{"data", {{"folder", "x"}, {"valid", {{"en", {"e.txt"}}, {"de", {"d.txt", "f.txt"}}}}}}});
  EXPECT_EQ(config.data_folder, "x");
  ASSERT_EQ(config.train.size(), 1u);
  EXPECT_EQ(config.train[0].files, std::vector<std::string>{"a.txt"});
  EXPECT_EQ(config.valid_files.at("de"), (std::vector<std::string>{"d.txt", "f.txt"}));
  EXPECT_EQ(config.valid_files.size(), 2u);
}

TEST(ParseTrainConfig, ReadsSourcesWithWeights) {
  const TrainConfig config =
      ParseTrainConfig({{"data",
                         {{"train", {{"en", {"e.txt"}}, {"code", {"c.jsonl", "d.jsonl"}}}},
                          {"weights", {{"en", 3}, {"code", 1}}}}}},
                       {}, "run.json");
  ASSERT_EQ(config.train.size(), 2u);
  EXPECT_EQ(config.train[0].name, "code");
  EXPECT_EQ(config.train[0].files, (std::vector<std::string>{"c.jsonl", "d.jsonl"}));
  EXPECT_EQ(config.train[0].weight, 1);
  EXPECT_EQ(config.train[1].weight, 3);
  EXPECT_THAT(ParseError({{"data.weights", {{"fr", 1}}}}),
              HasSubstr("data.weights: has 'fr', which is none of data.train"));
  EXPECT_THAT(ParseError({{"data.weights", {{"train", 0}}}}), HasSubstr("a number above 0"));
  EXPECT_THAT(ParseError(Json::object(), {"data.train={\"a\":[]}"}),
              HasSubstr("data.train names no file: source 'a'"));
}

TEST(ParseTrainConfig, HasADecayOnlyWhereTheScheduleHas) {
  const TrainConfig fifth = Parse({{"train.schedule", "wsd"}});
  EXPECT_EQ(fifth.schedule.kind, ScheduleKind::kWsd);
  EXPECT_EQ(fifth.schedule.decay_steps, 200);
  EXPECT_EQ(fifth.schedule.decay, DecayShape::kOneMinusSqrt);
  const TrainConfig said = Parse(
      {{"train", {{"schedule", "wsd"}, {"decay", "linear"}, {"decay_steps", 0}, {"steps", 100}}}});
  EXPECT_EQ(said.schedule.decay_steps, 0);
  EXPECT_EQ(said.schedule.decay, DecayShape::kLinear);
  EXPECT_THAT(ParseError({{"train.decay_steps", 5}}),
              HasSubstr("train.decay_steps is for train.schedule wsd"));
  EXPECT_THAT(ParseError({{"train.decay", "sqrt"}}), HasSubstr("train.decay is for"));
  EXPECT_THAT(ParseError({{"train.schedule", "wsd"}, {"train.decay_steps", 901}}),
              HasSubstr("are 100 and 901 but must be at most 1000"));
  EXPECT_THAT(ParseError({{"train.schedule", "steps"}}), HasSubstr("train.schedule"));
  EXPECT_EQ(Parse({{"train.schedule", "wsd"}, {"train.decay_steps", 7}}).fingerprint,
            fifth.fingerprint);
}

TEST(ParseTrainConfig, RemembersAllThatWasSaid) {
  const TrainConfig config = Parse({{"train", {{"steps", 5}}}}, {"name=x"});
  EXPECT_EQ(Json::parse(config.given),
            (Json{{"data.train", {"a.txt"}}, {"name", "x"}, {"train.steps", 5}}));
}

TEST(ParseTrainConfig, LetsSettingsOverrideTheFile) {
  const TrainConfig config =
      Parse({{"train", {{"steps", 5}}}, {"name", "file"}},
            {"train.steps=7", "name=said=so", "data.valid={\"v\":[\"v.txt\"]}", "train.steps=9",
             "model.tie_embeddings=true", "gguf_type=Q4_k"});
  EXPECT_EQ(config.steps, 9);
  EXPECT_EQ(config.schedule.steps, 9);
  EXPECT_EQ(config.name, "said=so");
  EXPECT_EQ(config.valid_files.size(), 1u);
  EXPECT_TRUE(config.model.tie_embeddings);
  EXPECT_EQ(config.gguf_type, DType::kQ4_K);
}

TEST(ParseTrainConfig, NamesTheRoutersOfThePapers) {
  const TrainConfig mixtral = Parse(Json::object());
  EXPECT_EQ(mixtral.model.router.softmax, RouterSoftmax::kChosen);
  EXPECT_FALSE(mixtral.model.router.noise);
  EXPECT_EQ(mixtral.model.router.capacity_factor, 0);
  EXPECT_EQ(mixtral.optimiser.balance_form, BalanceForm::kAllChoices);
  EXPECT_EQ(mixtral.optimiser.balance_scope, BalanceScope::kLayer);

  const TrainConfig switched =
      Parse({{"router", {{"kind", "switch"}, {"capacity_factor", 1.25}, {"jitter", 0.01}}},
             {"train", {{"balance_form", "switch"}, {"z_loss", 0.001}}}});
  EXPECT_EQ(switched.model.router.top_k, 1);
  EXPECT_TRUE(switched.model.router.unnormalised());
  EXPECT_EQ(switched.model.router.capacity_factor, 1.25);
  EXPECT_EQ(switched.model.router.jitter, 0.01f);
  EXPECT_EQ(switched.model.architecture, "cadre_moe");
  EXPECT_EQ(switched.optimiser.balance_form, BalanceForm::kFirstChoice);
  EXPECT_EQ(switched.optimiser.z_coefficient, 0.001);

  const TrainConfig noisy = Parse({{"router.kind", "noisy"},
                                   {"router.noise_floor", 0.5},
                                   {"train.importance", 0.1},
                                   {"train.load", 0.2}});
  EXPECT_TRUE(noisy.model.router.noise);
  EXPECT_EQ(noisy.model.router.noise_floor, 0.5f);
  EXPECT_EQ(noisy.model.router.top_k, 2);
  EXPECT_EQ(noisy.model.router.softmax, RouterSoftmax::kChosen);
  EXPECT_EQ(noisy.model.architecture, "mixtral");
  EXPECT_EQ(noisy.optimiser.importance_coefficient, 0.1);
  EXPECT_EQ(noisy.optimiser.load_coefficient, 0.2);

  const TrainConfig gshard = Parse({{"router", {{"second_by_lot", true}, {"capacity_factor", 1}}}});
  EXPECT_TRUE(gshard.model.router.second_by_lot);
  EXPECT_FALSE(gshard.model.router.ForInference().second_by_lot);
  EXPECT_FALSE(mixtral.model.router.second_by_lot);
  EXPECT_NE(gshard.fingerprint, Parse({{"router.capacity_factor", 1}}).fingerprint);

  const TrainConfig raw = Parse({{"router.norm_topk_prob", false}});
  EXPECT_TRUE(raw.model.router.unnormalised());
  EXPECT_EQ(raw.model.router.top_k, 2);
}

TEST(ParseTrainConfig, TakesTransformersBalanceOverTheWholeModel) {
  const TrainConfig hf = Parse({{"train.balance_form", "hf"}});
  EXPECT_EQ(hf.optimiser.balance_form, BalanceForm::kAllChoices);
  EXPECT_EQ(hf.optimiser.balance_scope, BalanceScope::kModel);
  EXPECT_EQ(Parse({{"train.balance_over", "model"}, {"train.balance_form", "gshard"}})
                .optimiser.balance_scope,
            BalanceScope::kModel);
  EXPECT_THAT(ParseError({{"train.balance_form", "hf"}, {"train.balance_over", "layer"}}),
              HasSubstr("train.balance_form: is hf, which is over model"));
}

TEST(ParseTrainConfig, RefusesRoutersThatCannotBe) {
  EXPECT_THAT(
      ParseError({{"router.kind", "hash"}}),
      HasSubstr("router.kind: is \"hash\" but must be \"mixtral\" or \"switch\" or \"noisy\""));
  EXPECT_THAT(ParseError({{"router.kind", "switch"}, {"model.experts_per_token", 2}}),
              HasSubstr("model.experts_per_token is 2 but must be 1"));
  EXPECT_THAT(ParseError({{"router.kind", "switch"}, {"router.norm_topk_prob", true}}),
              HasSubstr("router.norm_topk_prob is true"));
  EXPECT_THAT(ParseError({{"router.second_by_lot", true}, {"model.experts_per_token", 3}}),
              HasSubstr("model.experts_per_token is 3 but must be 2 where router.second_by_lot"));
  EXPECT_THAT(ParseError({{"router.second_by_lot", true}, {"router.kind", "switch"}}),
              HasSubstr("model.experts_per_token is 1 but must be 2"));
  EXPECT_THAT(ParseError({{"train.load", 0.1}}),
              HasSubstr("train.load is 0.1 but must be 0 unless"));
  for (const auto& [key, value] :
       std::vector<std::pair<const char*, Json>>{{"router.capacity_factor", -1},
                                                 {"router.capacity_factor", 1e9},
                                                 {"router.jitter", 1},
                                                 {"router.jitter", -0.1},
                                                 {"router.noise_floor", 0},
                                                 {"router.second_by_lot", "often"},
                                                 {"train.importance", -1},
                                                 {"train.z_loss", "much"},
                                                 {"train.balance_form", "fair"},
                                                 {"router.norm_topk_prob", 1}}) {
    EXPECT_THAT(ParseError({{key, value}}), HasSubstr(fmt::format("run.json: {}", key)));
  }
}

TEST(ParseTrainConfig, GivesADenseModelNoRouter) {
  const TrainConfig dense =
      Parse({{"model.experts", 1}, {"router.kind", "switch"}, {"router.capacity_factor", 1}});
  EXPECT_TRUE(dense.model.router.dense());
  EXPECT_EQ(dense.model.router.capacity_factor, 0);
  EXPECT_FALSE(dense.model.router.unnormalised());
  EXPECT_EQ(dense.model.architecture, "llama");
}

TEST(ParseTrainConfig, CountsTheRouterAmongWhatARunMustNotChange) {
  const std::string plain = Parse(Json::object()).fingerprint;
  for (const char* setting :
       {"router.kind=switch", "router.capacity_factor=1", "router.jitter=0.1",
        "train.balance_form=switch", "train.z_loss=0.1", "train.importance=0.1"})
    EXPECT_NE(Parse(Json::object(), {setting}).fingerprint, plain) << setting;
}

TEST(ParseTrainConfig, RefusesUnknownKeys) {
  EXPECT_THAT(ParseError({{"model.dims", 5}}), HasSubstr("run.json: unknown key 'model.dims'"));
  EXPECT_THAT(ParseError({{"model", {{"size", {{"dim", 5}}}}}}),
              HasSubstr("unknown key 'model.size.dim'"));
  EXPECT_THAT(ParseError({{"model", 5}}), HasSubstr("unknown key 'model'"));
  EXPECT_THAT(ParseError(Json::object(), {"lr=3"}), HasSubstr("unknown key 'lr'"));
  EXPECT_THAT(ParseError(Json::object(), {"train.lr"}),
              HasSubstr("--set train.lr: must be key=value"));
}

TEST(ParseTrainConfig, RefusesWrongValuesByName) {
  const struct {
    const char* key;
    Json value;
  } cases[] = {{"model.dim", "wide"},
               {"model.dim", 0},
               {"model.dim", 64.5},
               {"model.layers", -1},
               {"train.lr", "fast"},
               {"train.lr", -1},
               {"train.dropout", 1},
               {"train.beta2", 1},
               {"model.tie_embeddings", 1},
               {"name", 5},
               {"data.valid", {"v.txt"}},
               {"data.valid", {{"en", "v.txt"}}},
               {"gguf_type", "q3"},
               {"gguf_type", 8},
               {"seed", -1},
               {"train.steps", 0},
               {"tokenizer.vocab_size", 1},
               {"tokenizer.path", {"x"}},
               {"train.batch_tokens", int64_t{1} << 40}};
  for (const auto& c : cases) {
    EXPECT_THAT(ParseError({{c.key, c.value}}), HasSubstr(fmt::format("run.json: {}", c.key)))
        << c.value;
  }
  EXPECT_THAT(ErrorOf([] {
                ParseTrainConfig({{"data.train", "a.txt"}}, {}, "run.json");
              }),
              HasSubstr("data.train: must be a list"));
  EXPECT_THAT(ErrorOf([] {
                ParseTrainConfig({{"data.train", {1}}}, {}, "run.json");
              }),
              HasSubstr("data.train: must be a list"));
  EXPECT_THAT(ErrorOf([] { ParseTrainConfig(Json::object(), {}, "run.json"); }),
              HasSubstr("data.train names no file"));
  EXPECT_THAT(ErrorOf([] { ParseTrainConfig(Json::array(), {}, "run.json"); }),
              HasSubstr("must hold a JSON object"));
}

TEST(ParseTrainConfig, RefusesModelsThatCannotBe) {
  EXPECT_THAT(ParseError({{"model.kv_heads", 3}}), HasSubstr("key/value heads"));
  EXPECT_THAT(ParseError({{"model.experts_per_token", 9}}), HasSubstr("experts per token is 9"));
  EXPECT_THAT(ParseError({{"model.head_dim", 33}}), HasSubstr("head dimension is 33"));
}

TEST(ParseTrainConfig, CallsADenseModelWhatOthersCallIt) {
  EXPECT_EQ(Parse({{"model.experts", 1}}).model.architecture, "llama");
  EXPECT_EQ(Parse({{"model.experts", 1}}).model.router.top_k, 1);
  // transformers' Llama has no sliding window, its Mistral has.
  EXPECT_EQ(Parse({{"model.experts", 1}, {"model.sliding_window", 64}}).model.architecture,
            "mistral");
  EXPECT_EQ(Parse({{"model.sliding_window", 64}}).model.architecture, "mixtral");
}

TEST(ParseTrainConfig, BalancesEachLayerUnlessToldOtherwise) {
  EXPECT_EQ(Parse(Json::object()).optimiser.balance_scope, BalanceScope::kLayer);
  EXPECT_EQ(Parse({{"train.balance_over", "model"}}).optimiser.balance_scope, BalanceScope::kModel);
  EXPECT_THROW(Parse({{"train.balance_over", "expert"}}), Error);
}

TEST(ParseTrainConfig, FingerprintsOnlyWhatARunMustNotChange) {
  const std::string base = Parse(Json::object()).fingerprint;
  EXPECT_NE(Parse({{"train.lr", 0.5}}).fingerprint, base);
  EXPECT_NE(Parse({{"seed", 2}}).fingerprint, base);
  EXPECT_EQ(
      Parse({{"name", "other"}, {"train.checkpoint_every", 3}, {"data.folder", "y"}}).fingerprint,
      base);
  EXPECT_EQ(Parse({{"train.steps", 7}}).fingerprint, base) << "a run may become longer or shorter";
  EXPECT_THAT(base, AllOf(HasSubstr("data.train"), Not(HasSubstr("name"))));
}

TEST(TrainConfigKeys, DocumentEveryKey) {
  const auto keys = TrainConfigKeys();
  EXPECT_GT(keys.size(), 30u);
  for (const auto& [key, doc] : keys) {
    EXPECT_FALSE(doc.empty()) << key;
    if (key == "data.train") continue;  // the one that must be given
    EXPECT_THAT(doc, AllOf(HasSubstr("("), HasSubstr(")"))) << key << " says no default";
  }
}

}  // namespace
}  // namespace cadre
