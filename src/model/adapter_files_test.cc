#include "model/adapter_files.h"

#include <gmock/gmock.h>

#include <fstream>

#include "base/json.h"
#include "base/testing.h"
#include "model/load.h"
#include "model/testing.h"

namespace cadre {
namespace {

using base_testing::ErrorOf;
using base_testing::TempFolder;
using model_testing::RandomArena;
using model_testing::ReferenceLogits;
using model_testing::SaveArenaAsGguf;
using model_testing::TinyConfig;
using ::testing::HasSubstr;

const std::vector<int32_t> kIds = {3, 17, 5, 39, 8, 8, 1};

ModelConfig Dense() {
  ModelConfig config = TinyConfig();
  config.architecture = "mistral";
  config.router = {};
  return config;
}

// A random model with random adapters of rank 3 beside all its matrices.
struct Adapted {
  explicit Adapted(const ModelConfig& config = TinyConfig())
      : base_layout(config),
        base_values(RandomArena(base_layout)),
        base(base_layout.Bind(base_values.data())),
        layout(base, AdaptersFor(config, {.rank = 3, .alpha = 2})),
        values(RandomArena(layout, 9)) {}

  Model Bound() { return layout.Bind(values.data()); }

  ParameterLayout base_layout;
  Buffer<float> base_values;
  Model base;
  ParameterLayout layout;
  Buffer<float> values;
};

double LargestDifference(const std::vector<float>& a, const std::vector<float>& b) {
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i)
    largest = std::max(largest, std::abs(double{a[i]} - double{b[i]}));
  return largest;
}

TEST(Adapters, AreBesideEveryMatrixThatIsAskedFor) {
  const auto adapters = AdaptersFor(TinyConfig(), {.rank = 2});
  EXPECT_EQ(adapters.size(), 2U * (4 + 4 * 3));
  EXPECT_EQ(adapters[0].scale, 2);
  const auto some = AdaptersFor(
      TinyConfig(),
      {.rank = 4, .alpha = 3, .rank_stabilised = true, .matrices = {AdaptedMatrix::kDown}});
  EXPECT_EQ(some.size(), 2U * 4);
  EXPECT_FLOAT_EQ(some[0].scale, 1.5f);
  EXPECT_EQ(ModuleOf(some[1], false), "model.layers.0.block_sparse_moe.experts.1.w2");
  EXPECT_EQ(ModuleOf(some[0], true), "model.layers.0.mlp.down_proj");
  EXPECT_THAT(ErrorOf([] { AdaptersFor(TinyConfig(), {.rank = 9}); }), HasSubstr("lora.rank is 9"));
}

TEST(Adapters, ThatAreNewAddNothing) {
  Adapted tiny;
  InitialiseAdapters(tiny.layout, 1, tiny.values.data());
  EXPECT_EQ(ReferenceLogits(tiny.Bound(), kIds), ReferenceLogits(tiny.base, kIds));
  const LowRank first = tiny.layout.LowRankOf(0, tiny.values.data());
  const auto* down = reinterpret_cast<const float*>(first.down.data);
  const auto [least, most] = std::minmax_element(down, down + 3 * 16);
  EXPECT_LT(*least, -0.15f);
  EXPECT_GT(*least, -0.25f);
  EXPECT_GT(*most, 0.15f);
  EXPECT_LT(*most, 0.25f);
}

TEST(AdapterFiles, AreReadAsTheyWereWritten) {
  for (const auto& config : {TinyConfig(), Dense()}) {
    Adapted tiny(config);
    TempFolder folder;
    SaveAdapters(tiny.layout, tiny.values.data(), "tiny", folder.path());
    StoredAdapters stored = LoadAdapters(folder.path(), tiny.base);
    EXPECT_EQ(ReferenceLogits(stored.Bind(), kIds), ReferenceLogits(tiny.Bound(), kIds));
    EXPECT_GT(
        LargestDifference(ReferenceLogits(stored.Bind(), kIds), ReferenceLogits(tiny.base, kIds)),
        0.1);
    const Json json = ReadJsonFile(folder / "adapter_config.json");
    EXPECT_EQ(json["r"], 3);
    EXPECT_EQ(json["lora_alpha"], 2.0);
    EXPECT_EQ(json["base_model_name_or_path"], "tiny");
    EXPECT_EQ(json["target_modules"].size(), 7U);
  }
}

// Rows of q and k lie in another order in GGUF; files have Hugging Face's.
TEST(AdapterFiles, MeanTheSameBesideEitherOrderOfRows) {
  Adapted tiny;
  TempFolder folder;
  SaveAdapters(tiny.layout, tiny.values.data(), "tiny", folder.path());
  SaveArenaAsGguf(tiny.base.config, tiny.base_values, DType::kF32, folder / "tiny.gguf");
  auto gguf = LoadedModel::Load(folder / "tiny.gguf");
  ASSERT_EQ(gguf.model().config.rope_layout, RopeLayout::kInterleaved);
  StoredAdapters stored = LoadAdapters(folder.path(), gguf.model());
  const Model bound = stored.Bind();
  EXPECT_LT(LargestDifference(ReferenceLogits(bound, kIds), ReferenceLogits(tiny.Bound(), kIds)),
            1e-4);
  TempFolder again;
  SaveAdapters(stored.layout, stored.values.data(), "tiny", again.path());
  StoredAdapters back = LoadAdapters(again.path(), tiny.base);
  EXPECT_EQ(ReferenceLogits(back.Bind(), kIds), ReferenceLogits(tiny.Bound(), kIds));
}

TEST(AdapterFiles, KeepRanksAndScalesThatDiffer) {
  Adapted tiny;
  std::vector<Adapter> adapters = tiny.layout.adapters();
  adapters[2].rank = 1;
  adapters[5].scale = 4;
  const ParameterLayout layout(tiny.base, adapters);
  const Buffer<float> values = RandomArena(layout, 4);
  TempFolder folder;
  SaveAdapters(layout, values.data(), "tiny", folder.path());
  StoredAdapters stored = LoadAdapters(folder.path(), tiny.base);
  EXPECT_EQ(ReferenceLogits(stored.Bind(), kIds),
            ReferenceLogits(layout.Bind(const_cast<float*>(values.data())), kIds));
}

TEST(AdapterFiles, MergedModelsComputeWhatTheAdaptersAdd) {
  for (const auto& config : {TinyConfig(), Dense()}) {
    Adapted tiny(config);
    TempFolder folder;
    ThreadPool threads(2);
    SaveSafetensors(tiny.Bound(), HuggingFaceFloats(), threads, folder.path());
    const auto merged = LoadedModel::Load(folder.path());
    EXPECT_LT(LargestDifference(ReferenceLogits(merged.model(), kIds),
                                ReferenceLogits(tiny.Bound(), kIds)),
              1e-3);
  }
}

// The files of `Adapted`, to be spoiled.
struct SpoiltFiles {
  Adapted tiny;
  TempFolder folder;
  Json config;

  SpoiltFiles() {
    SaveAdapters(tiny.layout, tiny.values.data(), "tiny", folder.path());
    config = ReadJsonFile(folder / "adapter_config.json");
  }
  std::string Error() {
    std::ofstream(folder / "adapter_config.json") << config.dump();
    return ErrorOf([&] { LoadAdapters(folder.path(), tiny.base); });
  }
  // In place of the tensors.
  void Write(const std::vector<std::pair<std::string, std::vector<int64_t>>>& tensors) {
    SafetensorsWriter writer(folder / "adapter_model.safetensors");
    for (const auto& [name, shape] : tensors) writer.Declare(name, DType::kF32, shape);
    for (const auto& [name, shape] : tensors) {
      int64_t size = 1;
      for (const int64_t n : shape) size *= n;
      writer.Append(std::vector<std::byte>(static_cast<size_t>(4 * size)));
    }
    writer.Commit();
  }
};

TEST(AdapterFiles, AreRefusedWithSettingsThatMeanMore) {
  const std::vector<std::pair<const char*, Json>> cases = {
      {"peft_type", "IA3"},          {"use_dora", true},   {"bias", "all"},
      {"modules_to_save", {"head"}}, {"lora_alpha", "no"}, {"alpha_pattern", {{"q.*", 3}}},
      {"fan_in_fan_out", true}};
  for (const auto& [key, value] : cases) {
    SpoiltFiles files;
    files.config[key] = value;
    EXPECT_THAT(files.Error(), HasSubstr(key)) << key;
    EXPECT_THAT(files.Error(), HasSubstr("adapter_config.json")) << key;
  }
}

TEST(AdapterFiles, AreRefusedWithTensorsThatDoNotFit) {
  const std::string prefix = "base_model.model.model.layers.0.";
  const std::string q = prefix + "self_attn.q_proj.", experts = prefix + "mlp.experts.";
  using Tensors = std::vector<std::pair<std::string, std::vector<int64_t>>>;
  const std::vector<std::pair<Tensors, const char*>> cases = {
      {{{q + "lora_A.weight", {2, 16}}}, "has no lora_B"},
      {{{q + "lora_B.weight", {16, 2}}}, "has no lora_A"},
      {{{q + "lora_A.weight", {2, 16}}, {q + "lora_B.weight", {16, 3}}}, "does not fit"},
      {{{q + "lora_A.weight", {2, 15}}, {q + "lora_B.weight", {16, 2}}}, "does not fit"},
      {{{q + "lora_A.weight", {2, 16}}, {q + "lora_B.weight", {8, 2}}}, "does not fit"},
      {{{q + "lora_A.weight", {0, 16}}, {q + "lora_B.weight", {16, 0}}}, "does not fit"},
      {{{q + "lora_A.weight", {32}}, {q + "lora_B.weight", {16, 2}}}, "must be a matrix"},
      {{{q + "weight", {16, 16}}}, "is not the lora_A or lora_B"},
      {{{prefix + "block_sparse_moe.gate.lora_A.weight", {2, 16}},
        {prefix + "block_sparse_moe.gate.lora_B.weight", {4, 2}}},
       "no matrix of attention or experts"},
      {{{q + "lora_A.weight", {2, 16}},
        {q + "lora_A.other.weight", {2, 16}},
        {q + "lora_B.weight", {16, 2}}},
       "there twice"},
      {{{experts + "lora_A.weight", {6, 16}}, {experts + "lora_B.weight", {48, 6}}},
       "does not fit"},
      {{}, "holds no adapters"}};
  for (const auto& [tensors, expected] : cases) {
    SpoiltFiles files;
    files.Write(tensors);
    EXPECT_THAT(files.Error(), HasSubstr(expected));
    EXPECT_THAT(files.Error(), HasSubstr("adapter_model.safetensors"));
  }
}

}  // namespace
}  // namespace cadre
