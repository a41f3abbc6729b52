#include "model/save.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "base/json.h"
#include "base/testing.h"
#include "model/config_files.h"
#include "model/load.h"
#include "model/testing.h"

namespace cadre {
namespace {

using base_testing::TempFolder;
using model_testing::ArenaOf;
using model_testing::GoldenPath;
using model_testing::RandomArena;
using model_testing::ReferenceLogits;
using model_testing::SameBits;
using model_testing::SaveArenaAsGguf;
using model_testing::SaveArenaAsHuggingFace;
using model_testing::TinyConfig;

const std::vector<int32_t> kIds = {1, 17, 33, 5, 5, 29, 2, 11, 8};

class SaveGolden : public ::testing::TestWithParam<const char*> {
 protected:
  const LoadedModel original_ = LoadedModel::Load(GoldenPath(GetParam()));
  const Model& model_ = original_.model();
  const Buffer<float> arena_ = ArenaOf(model_);
  const TempFolder folder_;
};

TEST_P(SaveGolden, AsHuggingFaceIsReadBackTheSame) {
  SaveArenaAsHuggingFace(model_.config, arena_, folder_.path());
  const auto loaded = LoadedModel::Load(folder_.path());
  EXPECT_TRUE(loaded.warnings().empty());
  EXPECT_TRUE(SameBits(ArenaOf(loaded.model()), arena_));
  EXPECT_EQ(ConfigToJson(loaded.model().config).dump(), ConfigToJson(model_.config).dump());
  EXPECT_EQ(ReferenceLogits(loaded.model(), kIds), ReferenceLogits(model_, kIds));
}

TEST_P(SaveGolden, AsGgufIsReadBackTheSame) {
  const std::string path = folder_ / "model.gguf";
  SaveArenaAsGguf(model_.config, arena_, DType::kF32, path);
  const auto loaded = LoadedModel::Load(path);
  EXPECT_TRUE(loaded.warnings().empty());
  EXPECT_TRUE(SameBits(ArenaOf(loaded.model()), arena_));
  const ModelConfig &got = loaded.model().config, &want = model_.config;
  EXPECT_EQ(got.rope_layout, RopeLayout::kInterleaved);
  EXPECT_EQ(got.head_dim, want.head_dim);
  EXPECT_EQ(got.context_length, want.context_length);
  EXPECT_EQ(got.sliding_window, want.sliding_window);
  EXPECT_EQ(got.rope_theta, want.rope_theta);
  EXPECT_EQ(got.rms_norm_eps, want.rms_norm_eps);
  EXPECT_EQ(got.tie_embeddings, want.tie_embeddings);
  EXPECT_EQ(got.router.num_experts, want.router.num_experts);
  EXPECT_EQ(got.router.top_k, want.router.top_k);
  EXPECT_EQ(ReferenceLogits(loaded.model(), kIds), ReferenceLogits(model_, kIds));
}

INSTANTIATE_TEST_SUITE_P(All, SaveGolden,
                         ::testing::Values("mixtral", "mixtral_head_dim", "mixtral_4_of_16",
                                           "mixtral_top1", "mistral_window", "llama_tied",
                                           "mixtral_gguf_f32"),
                         [](const auto& test) { return std::string(test.param); });

ModelConfig SwitchConfig() {
  ModelConfig config = TinyConfig();
  config.architecture = kUnnormalisedArchitecture;
  config.router = {.num_experts = 4,
                   .top_k = 1,
                   .softmax = RouterSoftmax::kAll,
                   .capacity_factor = 1,
                   .jitter = 0.1f,
                   .noise = true};
  return config;
}

// The router as it runs, and nothing of how it was trained.
void ExpectSwitch(const LoadedModel& loaded, const Model& original) {
  const RouterConfig& router = loaded.model().config.router;
  EXPECT_EQ(loaded.model().config.architecture, kUnnormalisedArchitecture);
  EXPECT_TRUE(router.unnormalised());
  EXPECT_EQ(router.num_experts, 4);
  EXPECT_EQ(router.top_k, 1);
  EXPECT_EQ(router.capacity_factor, 0);
  EXPECT_EQ(router.jitter, 0);
  EXPECT_FALSE(router.noise);
  Model plain = original;
  plain.config.router = plain.config.router.ForInference();
  EXPECT_EQ(ReferenceLogits(loaded.model(), kIds), ReferenceLogits(plain, kIds));
  plain.config.router.softmax = RouterSoftmax::kChosen;  // what mixtral would make of it
  EXPECT_NE(ReferenceLogits(loaded.model(), kIds), ReferenceLogits(plain, kIds));
}

TEST(SaveSwitch, IsReadBackAsWhatItIs) {
  const ModelConfig config = SwitchConfig();
  const ParameterLayout layout(config);
  const auto arena = RandomArena(layout);
  const Model model = layout.Bind(arena.data());
  const TempFolder folder;
  SaveArenaAsHuggingFace(config, arena, folder.path());
  ExpectSwitch(LoadedModel::Load(folder.path()), model);
  const std::string path = folder / "model.gguf";
  SaveArenaAsGguf(config, arena, DType::kF32, path);
  const auto loaded = LoadedModel::Load(path);
  ExpectSwitch(loaded, model);
  EXPECT_EQ(loaded.checkpoint().gguf()->GetString("general.architecture"), "cadre_moe");
  EXPECT_FALSE(loaded.checkpoint().gguf()->GetBool("cadre_moe.expert_weights_norm"));
}

TEST(SaveSwitch, IsRefusedByALayoutThatCannotSayIt) {
  const ModelConfig config = SwitchConfig();
  const ParameterLayout layout(config);
  const auto arena = RandomArena(layout);
  const TempFolder folder;
  ThreadPool threads(1);
  const SaveOptions options = {.layout = {TensorLayout::kMistral, ExpertLayout::kSeparate},
                               .type_of = [](const PlannedTensor&) { return DType::kF32; }};
  EXPECT_NE(base_testing::ErrorOf([&] {
              SaveSafetensors(layout.Bind(arena.data()), options, threads, folder.path());
            }).find("not renormalised"),
            std::string::npos);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

// dim 256 gives rows of whole k-quant blocks, hidden_dim 32 only of Q8_0, 24 of neither.
ModelConfig WideConfig(int64_t hidden_dim) {
  ModelConfig config = TinyConfig();
  config.dim = 256;
  config.hidden_dim = hidden_dim;
  config.num_layers = 1;
  config.num_heads = 4;
  config.head_dim = 64;
  return config;
}

std::string TypeOf(const Checkpoint& checkpoint, const std::string& name) {
  const auto tensor = checkpoint.Find(name);
  return tensor ? tensor->type_name : "missing";
}

TEST(SaveGguf, FallsBackWhereRowsAreNoWholeBlocks) {
  const TempFolder folder;
  const std::string path = folder / "model.gguf";
  const auto types = [&](int64_t hidden_dim, DType type) {
    const ModelConfig config = WideConfig(hidden_dim);
    const auto arena = RandomArena(ParameterLayout(config));
    SaveArenaAsGguf(config, arena, type, path);
    const auto loaded = LoadedModel::Load(path);
    const auto& file = loaded.checkpoint();
    EXPECT_EQ(TypeOf(file, "token_embd.weight"), Info(type).name);
    EXPECT_EQ(TypeOf(file, "output.weight"), Info(type).name);
    EXPECT_EQ(TypeOf(file, "blk.0.attn_k.weight"), Info(type).name);
    EXPECT_EQ(TypeOf(file, "blk.0.ffn_up_exps.weight"), Info(type).name);
    EXPECT_EQ(TypeOf(file, "blk.0.ffn_gate_inp.weight"), "F32");
    EXPECT_EQ(TypeOf(file, "blk.0.attn_norm.weight"), "F32");
    EXPECT_EQ(TypeOf(file, "output_norm.weight"), "F32");
    return TypeOf(file, "blk.0.ffn_down_exps.weight");
  };
  EXPECT_EQ(types(256, DType::kQ4_K), "Q4_K");
  EXPECT_EQ(types(32, DType::kQ4_K), "Q5_0");
  EXPECT_EQ(types(32, DType::kQ5_K), "Q5_1");
  EXPECT_EQ(types(32, DType::kQ6_K), "Q8_0");
  EXPECT_EQ(types(32, DType::kQ2_K), "IQ4_NL");
  EXPECT_EQ(types(32, DType::kQ8_0), "Q8_0");
  EXPECT_EQ(types(24, DType::kQ8_0), "F16");
  EXPECT_EQ(types(24, DType::kQ6_K), "F16");
  EXPECT_EQ(types(24, DType::kBF16), "BF16");
}

// A value changes by at most half a step: 1/254 of the largest of its 32 neighbours in Q8_0 (1/200
// leaves room for the F16 scale).
TEST(SaveGguf, KeepsWeightsWithinTheRoundingOfTheType) {
  const TempFolder folder;
  const ModelConfig config = WideConfig(32);
  const ParameterLayout layout(config);
  const auto arena = RandomArena(layout);
  SaveArenaAsGguf(config, arena, DType::kQ8_0, folder / "model.gguf");
  const auto again = ArenaOf(LoadedModel::Load(folder / "model.gguf").model());
  for (const auto& p : layout.parameters()) {
    const bool exact = p.is_norm || p.name.ends_with("gate.weight");
    for (int64_t begin = p.offset; begin < p.offset + p.size(); begin += 32) {
      const int64_t end = std::min(begin + 32, p.offset + p.size());
      float amax = 0;
      for (int64_t i = begin; i < end; ++i) amax = std::max(amax, std::abs(arena[i]));
      for (int64_t i = begin; i < end; ++i)
        EXPECT_NEAR(again[i], arena[i], exact ? 0 : amax / 200) << p.name;
    }
  }
}

TEST(SaveGguf, WritesNameTypeAndWhatTheCallerAdds) {
  const TempFolder folder;
  const ModelConfig config = TinyConfig();
  SaveArenaAsGguf(config, RandomArena(ParameterLayout(config)), DType::kF16, folder / "model.gguf",
                  [](GgufWriter& writer) { writer.SetU32("tokenizer.ggml.eos_token_id", 7); });
  const auto file = GgufFile::Open(folder / "model.gguf");
  EXPECT_EQ(file.GetString("general.name"), "name");
  EXPECT_EQ(file.GetInt("general.file_type"), 1);
  EXPECT_EQ(LoadedModel::Load(folder / "model.gguf").model().config.eos_ids,
            std::vector<int32_t>{7});
}

}  // namespace
}  // namespace cadre
