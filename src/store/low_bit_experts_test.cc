#include "store/low_bit_experts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/testing.h"
#include "store/testing.h"

namespace cadre {
namespace {

using base_testing::ErrorOf;
using store_testing::ModelFile;
using store_testing::StoreConfig;
using ::testing::HasSubstr;

TEST(LowBitExperts, HoldsEveryExpertOfTheCopy) {
  const ModelFile file, copy(DType::kQ8_0);
  const auto device = MakeReferenceDevice();
  const LowBitExperts experts(copy.loaded(), file.model(), KeptForm::kStored, *device, *device,
                              MakeDiskIo(4), {.piece_bytes = 6 * 4096, .depth = 4});
  const auto& layers = copy.model().weights.layers;
  int64_t bytes = 0;
  for (size_t l = 0; l < layers.size(); ++l) {
    for (size_t e = 0; e < layers[l].experts.size(); ++e) {
      const ExpertWeights& kept = experts.Get(static_cast<int64_t>(l), static_cast<int64_t>(e));
      const ExpertWeights& stored = layers[l].experts[e];
      for (const auto matrix : {&ExpertWeights::w1, &ExpertWeights::w2, &ExpertWeights::w3}) {
        const Weight &w = kept.*matrix, &there = stored.*matrix;
        EXPECT_EQ(w.type, there.type);
        EXPECT_NE(w.data, there.data);  // in memory of its own
        EXPECT_EQ(std::memcmp(w.data, there.data, static_cast<size_t>(w.bytes())), 0);
        bytes += w.bytes();
      }
    }
  }
  EXPECT_GE(LowBitExperts::Bytes(copy.model(), KeptForm::kStored, *device), bytes);
}

TEST(LowBitExperts, RefusesACopyOfAnotherModel) {
  const base_testing::TempFolder folder;
  const ModelFile file;
  const auto error = [&](const ModelConfig& config, float first) {
    Buffer<float> arena = model_testing::RandomArena(ParameterLayout(config));
    if (first != 0) {  // a norm that another training would have made
      const Model model = ParameterLayout(config).Bind(arena.data());
      const_cast<float&>(model.weights.layers[1].ffn_norm[3]) = first;
    }
    const std::string path = folder / "other.gguf";
    model_testing::SaveArenaAsGguf(config, arena, DType::kQ8_0, path);
    const LoadedModel other = LoadedModel::Load(path);
    return ErrorOf([&] { CheckIsCopy(other, file.model()); });
  };
  EXPECT_EQ(error(StoreConfig(), 0), "");
  EXPECT_THAT(error(StoreConfig(), 0.125f), HasSubstr("other.gguf: its norms are not the model's"));
  ModelConfig config = StoreConfig();
  config.num_layers = 2;
  EXPECT_THAT(error(config, 0), HasSubstr("other.gguf: has 2 layers but the model has 3"));
  config = StoreConfig();
  config.router.num_experts = 4;
  EXPECT_THAT(error(config, 0), HasSubstr("has 4 experts in a layer but the model has 6"));
  config = StoreConfig();
  config.hidden_dim = 96;
  EXPECT_THAT(error(config, 0), HasSubstr("has 96 values within an expert"));
}

}  // namespace
}  // namespace cadre
