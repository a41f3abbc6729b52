#include "align/tune_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json.h"
#include "base/testing.h"

namespace cadre {
namespace {

using base_testing::ErrorOf;
using ::testing::HasSubstr;

const Json kLeast = {{"model", "nano"}, {"data", {{"train", {"a.jsonl"}}}}};

TEST(TuneConfig, HasDefaultsForWhatIsNotSaid) {
  const SftConfig sft = ParseSftConfig(kLeast, {}, "c.json");
  EXPECT_EQ(sft.model, "nano");
  ASSERT_EQ(sft.train.size(), 1u);
  EXPECT_EQ(sft.train[0].files, (std::vector<std::string>{"a.jsonl"}));
  EXPECT_EQ(sft.schedule.peak, 2e-5);
  EXPECT_EQ(sft.batch_tokens, 4096);
  const DpoConfig dpo = ParseDpoConfig(kLeast, {"dpo.loss=ipo", "dpo.beta=0.5"}, "c.json");
  EXPECT_EQ(dpo.preference.loss, PreferenceLoss::kIpo);
  EXPECT_EQ(dpo.preference.beta, 0.5);
  EXPECT_EQ(dpo.limits.max_tokens, 512);
  EXPECT_EQ(dpo.optimiser.weight_decay, 0);
  EXPECT_EQ(dpo.optimiser.anchor_coefficient, 0);
  EXPECT_FALSE(dpo.replay_routing);
  EXPECT_TRUE(ParseDpoConfig(kLeast, {"router.replay=true"}, "c.json").replay_routing);
  EXPECT_EQ(ParseSftConfig(kLeast, {"router.anchor=0.5"}, "c.json").optimiser.anchor_coefficient,
            0.5);
}

TEST(TuneConfig, ReadsSourcesWithWeights) {
  const Json json = {{"model", "m"},
                     {"data",
                      {{"train", {{"x", {"x.jsonl"}}, {"y", {"y1.jsonl", "y2.jsonl"}}}},
                       {"weights", {{"x", 1}, {"y", 3}}},
                       {"valid", {"v.jsonl"}}}},
                     {"train", {{"freeze", {"router"}}, {"keep", "best"}}}};
  const SftConfig config = ParseSftConfig(json, {}, "c.json");
  ASSERT_EQ(config.train.size(), 2u);
  EXPECT_EQ(config.train[1].name, "y");
  EXPECT_EQ(config.train[1].weight, 3);
  EXPECT_EQ(config.valid[0].name, "valid");
  EXPECT_EQ(config.optimiser.frozen, std::vector<ModelPart>{ModelPart::kRouter});
  EXPECT_TRUE(config.keep_best);
}

TEST(TuneConfig, NamesTheKeyOfWhatIsWrong) {
  const auto sft = [](const std::vector<std::string>& settings) {
    return ErrorOf([&] { ParseSftConfig(kLeast, settings, "c.json"); });
  };
  const auto dpo = [](const std::vector<std::string>& settings) {
    return ErrorOf([&] { ParseDpoConfig(kLeast, settings, "c.json"); });
  };
  EXPECT_THAT(sft({"dpo.beta=1"}),
              HasSubstr("unknown key 'dpo.beta' (cadre sft --help lists all)"));
  EXPECT_THAT(sft({"model="}), HasSubstr("model names no model"));
  EXPECT_THAT(sft({"data.train=5"}), HasSubstr("data.train: must be a list of files"));
  EXPECT_THAT(sft({"data.train=[]"}), HasSubstr("names no file"));
  EXPECT_THAT(sft({"data.weights={\"z\":1}"}), HasSubstr("has 'z', which is none of data.train"));
  EXPECT_THAT(sft({"data.weights={\"train\":-1}"}), HasSubstr("must be a number above 0"));
  EXPECT_THAT(sft({"train.freeze=[\"soul\"]"}), HasSubstr("has 'soul' but its parts are"));
  EXPECT_THAT(sft({"router.anchor=-1"}), HasSubstr("router.anchor: is -1 but must be from 0"));
  EXPECT_THAT(dpo({"router.replay=2"}), HasSubstr("router.replay"));
  EXPECT_THAT(sft({"train.decay=linear"}), HasSubstr("train.decay is for train.schedule wsd"));
  EXPECT_THAT(sft({"train.segment_tokens=9000"}),
              HasSubstr("must not be above train.batch_tokens"));
  EXPECT_THAT(sft({"data.strings=xml"}), HasSubstr("must be \"chat\" or \"plain\""));
  EXPECT_THAT(dpo({"dpo.loss=kto"}), HasSubstr("is \"kto\" but must be \"sigmoid\" or \"ipo\""));
  EXPECT_THAT(dpo({"dpo.label_smoothing=0.5"}), HasSubstr("must be from 0 to 0.499"));
  EXPECT_THAT(dpo({"dpo.max_prompt_tokens=512"}), HasSubstr("must be below dpo.max_tokens"));
}

TEST(TuneConfig, DocumentsEveryKeyWithItsOwnDefault) {
  const auto doc = [](const auto& keys, const std::string& name) {
    for (const auto& [key, text] : keys)
      if (key == name) return text;
    return std::string();
  };
  EXPECT_THAT(doc(SftConfigKeys(), "train.lr"), HasSubstr("2e-05"));
  EXPECT_THAT(doc(DpoConfigKeys(), "train.lr"), HasSubstr("1e-06"));
  for (const auto& [key, text] : DpoConfigKeys()) EXPECT_FALSE(text.empty()) << key;
}

}  // namespace
}  // namespace cadre
