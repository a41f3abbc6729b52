// A model whose experts are fetched gives the bits of the model in memory: every layout of its
// files, every device, exact and rounded, with room for one expert, a few, and all.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/huge_memory.h"
#include "base/testing.h"
#include "model/testing.h"
#include "quantize/convert.h"
#include "store/fitted_model.h"
#include "tests/devices.h"
#include "tests/step.h"

namespace cadre {
namespace {

using base_testing::ErrorOf;
using base_testing::TempFolder;
using model_testing::GoldenPath;
using ::testing::HasSubstr;

const std::vector<int32_t> kIds = {1, 17, 33, 5, 5, 29, 2, 11, 8, 60, 71, 3, 44, 12, 9};

struct Stored {
  std::string name;
  FileLayout layout;
  std::optional<DType> type = {};
  uint64_t shard_bytes = 0;
};

const Stored kStored[] = {
    {"HuggingFace", {TensorLayout::kHuggingFace, ExpertLayout::kSeparate}},
    {"HuggingFaceSharded", {TensorLayout::kHuggingFace, ExpertLayout::kSeparate}, {}, 30000},
    {"HuggingFaceFused", {TensorLayout::kHuggingFace, ExpertLayout::kFused}},
    {"HuggingFaceBF16", {TensorLayout::kHuggingFace, ExpertLayout::kSeparate}, DType::kBF16},
    {"Mistral", {TensorLayout::kMistral, ExpertLayout::kSeparate}},
    {"GgufMerged", {TensorLayout::kGguf, ExpertLayout::kMerged}},
    {"GgufMergedQ8", {TensorLayout::kGguf, ExpertLayout::kMerged}, DType::kQ8_0},
    {"GgufMergedF16", {TensorLayout::kGguf, ExpertLayout::kMerged}, DType::kF16},
    {"GgufSplitQ4", {TensorLayout::kGguf, ExpertLayout::kMerged}, DType::kQ4_0, 30000},
    {"GgufSeparateQ5", {TensorLayout::kGguf, ExpertLayout::kSeparate}, DType::kQ5_1},
    {"GgufFusedQ8", {TensorLayout::kGguf, ExpertLayout::kFused}, DType::kQ8_0},
};

std::string Converted(const std::string& source, const TempFolder& folder, const Stored& stored) {
  ThreadPool threads(2);
  const bool gguf = stored.layout.names == TensorLayout::kGguf;
  const std::string place = folder / (gguf ? stored.name + ".gguf" : stored.name);
  const auto result = Convert(
      source, place,
      {.type = stored.type, .layout = stored.layout, .shard_bytes = stored.shard_bytes}, threads);
  return gguf ? result.summary.files[0] : place;
}

// A prompt, then token by token.
std::vector<float> Logits(const Model& model, Device& device, ActivationType activation,
                          ExpertSource* experts) {
  StepRunner runner(model, device, KvType::kF16, activation, {kIds}, experts);
  runner.Step({{0, 6}});
  for (size_t i = 6; i < kIds.size(); ++i) runner.Step({{0, 1}});
  return runner.logits(0);
}

// A budget with room for so many experts.
int64_t Budget(const LoadedModel& loaded, Device& device, const RunNeeds& needs,
               const FitOptions& options, int64_t slots) {
  MemoryCosts costs =
      CostsOf(loaded.model(), device, device.threads().num_threads(), needs, options.form);
  // A few megabytes stand for what the process grows by.
  return costs.Fixed() + loaded.model().config.kv_shape(options.kv_type).page_bytes() +
         slots * costs.slot + static_cast<int64_t>(ResidentMemory()) + (int64_t{4} << 20);
}

class Fitted : public ::testing::TestWithParam<Stored> {
 protected:
  const TempFolder folder_;
};

TEST_P(Fitted, GivesTheSameBitsOnEveryDevice) {
  const std::string path = Converted(GoldenPath("mixtral"), folder_, GetParam());
  const LoadedModel loaded = LoadedModel::Load(path);
  for (const auto& name : DeviceNames()) {
    ThreadPool threads(2), packer_threads(1);
    const auto device = MakeDevice(name, threads);
    const auto packer = MakeDevice(name, packer_threads);
    for (const auto activation : {ActivationType::kF32, ActivationType::kRounded}) {
      const auto expected = Logits(loaded.model(), *device, activation, nullptr);
      WeightFiles files(loaded.checkpoint());
      for (const auto form : {KeptForm::kStored, KeptForm::kPacked}) {
        if (form == KeptForm::kPacked && activation == ActivationType::kF32) continue;
        Loader loader(files, MakeDiskIo(4), *packer, {.piece_bytes = 4 * 4096, .depth = 4});
        Model model = loaded.model();
        const SharedWeights shared(model, files, *device, form, loader);
        for (const int64_t slots : {1, 3, 16}) {
          ExpertStore store(loaded.model(), files, *device, form, loader,
                            {.slots = slots, .guesses = slots == 3 ? 1 : 0});
          EXPECT_TRUE(Logits(model, *device, activation, &store) == expected)
              << name << " " << slots << (form == KeptForm::kPacked ? " packed" : " stored");
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, Fitted, ::testing::ValuesIn(kStored),
                         [](const auto& test) { return test.param.name; });

TEST(FittedModel, RunsWithinABudgetAndSaysWhatItPlanned) {
  const LoadedModel loaded = LoadedModel::Load(GoldenPath("mixtral"));
  ThreadPool threads(2), packer_threads(1);
  const auto device = MakeDevice(DeviceNames().back(), threads);
  const auto packer = MakeDevice(DeviceNames().back(), packer_threads);
  const RunNeeds needs = {.step_tokens = 6};
  FitOptions options;
  const auto expected = Logits(loaded.model(), *device, ActivationType::kRounded, nullptr);
  for (const bool denied : {false, true}) {
    if (denied) options.try_uring = [](int) { return std::unique_ptr<DiskIo>(); };
    // What the process had at most counts too.
    options.budget = std::max(Budget(loaded, *device, needs, options, 6),
                              static_cast<int64_t>(PeakResidentMemory()));
    FittedModel fitted(loaded, *device, *packer, needs, options);
    EXPECT_GE(fitted.plan().slots, 1);
    EXPECT_THAT(fitted.plan().ToText(), HasSubstr("experts"));
    EXPECT_TRUE(Logits(fitted.model(), *device, ActivationType::kRounded, &fitted.experts()) ==
                expected);
  }
  options.budget = 1;
  EXPECT_THAT(ErrorOf([&] { FittedModel(loaded, *device, *packer, needs, options); }),
              HasSubstr("--memory is 1 bytes but this run needs "));
}

TEST(FittedModel, CopiesInFewerBitsArePlannedForAndStandIn) {
  const TempFolder folder;
  const std::string copy_path =
      Converted(GoldenPath("mixtral"), folder,
                {"copy", {TensorLayout::kGguf, ExpertLayout::kMerged}, DType::kQ4_0});
  const LoadedModel loaded = LoadedModel::Load(GoldenPath("mixtral"));
  const LoadedModel copy = LoadedModel::Load(copy_path);
  ThreadPool threads(2), packer_threads(1);
  const auto device = MakeDevice(DeviceNames().back(), threads);
  const auto packer = MakeDevice(DeviceNames().back(), packer_threads);
  const RunNeeds needs = {.step_tokens = 6};
  FitOptions options{.misses = {.on_miss = OnMiss::kLowBit, .most_wait_s = 0, .most_gate = 1},
                     .low_bit = &copy};
  options.budget = std::max(Budget(loaded, *device, needs, options, 6),
                            static_cast<int64_t>(PeakResidentMemory())) +
                   LowBitExperts::Bytes(copy.model(), options.form, *device);
  FittedModel fitted(loaded, *device, *packer, needs, options);
  EXPECT_THAT(fitted.plan().ToText(), HasSubstr("for all experts in fewer bits"));
  const auto logits = Logits(fitted.model(), *device, ActivationType::kRounded, &fitted.experts());
  const auto sum = fitted.experts().stats().Sum();
  EXPECT_GT(sum.low_bit, 0);
  // Near what the model says, and not the same.
  const auto expected = Logits(loaded.model(), *device, ActivationType::kRounded, nullptr);
  double off = 0, size = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    off += std::pow(logits[i] - expected[i], 2);
    size += std::pow(expected[i], 2);
  }
  EXPECT_GT(off, 0);
  EXPECT_LT(off, 0.1 * size);

  const std::string other = Converted(GoldenPath("llama_tied"), folder,
                                      {"other", {TensorLayout::kGguf, ExpertLayout::kMerged}});
  const LoadedModel another = LoadedModel::Load(other);
  options.low_bit = &another;
  EXPECT_THAT(ErrorOf([&] { FittedModel(loaded, *device, *packer, needs, options); }),
              HasSubstr("it is no copy of it"));
}

// One expert, no router: the next layer's is known beforehand.
TEST(FittedModel, RunsADenseModel) {
  const TempFolder folder;
  ModelConfig config = model_testing::TinyConfig();
  config.architecture = "llama";
  config.router = {};
  config.tie_embeddings = true;
  model_testing::SaveArenaAsHuggingFace(config, model_testing::RandomArena(ParameterLayout(config)),
                                        folder.path());
  const LoadedModel loaded = LoadedModel::Load(folder.path());
  const auto device = MakeReferenceDevice();
  WeightFiles files(loaded.checkpoint());
  Loader loader(files, MakeDiskIo(4), *device, {.piece_bytes = 4 * 4096, .depth = 4});
  Model model = loaded.model();
  const SharedWeights shared(model, files, *device, KeptForm::kStored, loader);
  ExpertStore store(loaded.model(), files, *device, KeptForm::kStored, loader,
                    {.slots = 1, .guesses = 1});
  const std::vector<std::vector<int32_t>> ids = {{1, 17, 33, 5}};
  StepRunner alone(loaded.model(), *device, KvType::kF32, ActivationType::kF32, ids);
  alone.RunAll(0);
  StepRunner runner(model, *device, KvType::kF32, ActivationType::kF32, ids, &store);
  for (int i = 0; i < 4; ++i) runner.Step({{0, 1}});
  EXPECT_TRUE(runner.logits(0) == alone.logits(0));
  // To name the only expert is no guess, but it is read ahead.
  EXPECT_EQ(store.stats().layers[1].foreseen, 0);
  EXPECT_EQ(store.stats().layers[1].begun, 4);
}

}  // namespace
}  // namespace cadre
