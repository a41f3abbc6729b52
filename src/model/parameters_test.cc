#include "model/parameters.h"

#include <gtest/gtest.h>

#include <cstring>
#include <set>

#include "model/load.h"
#include "model/rope_rows.h"
#include "model/testing.h"
#include "tensor/float16.h"

namespace cadre {
namespace {

using model_testing::ArenaOf;
using model_testing::GoldenPath;
using model_testing::RandomArena;
using model_testing::SameBits;
using model_testing::TinyConfig;

ModelConfig DenseTied() {
  ModelConfig config = TinyConfig();
  config.architecture = "llama";
  config.router = {};
  config.tie_embeddings = true;
  return config;
}

TEST(RopeRows, AreEachOthersInverse) {
  const int64_t source[] = {
      0, 4, 1, 5, 2, 6, 3, 7};  // facts of the format: Hugging Face's rows in GGUF's order, D = 8
  for (int64_t row = 0; row < 8; ++row) EXPECT_EQ(HalfSplitRow(row, 8), source[row]);
  for (const int64_t head_dim : {2, 8, 128}) {
    for (int64_t row = 0; row < 3 * head_dim; ++row) {
      EXPECT_EQ(HalfSplitRow(InterleavedRow(row, head_dim), head_dim), row);
      EXPECT_EQ(InterleavedRow(row, head_dim) / head_dim, row / head_dim);
    }
  }
}

TEST(ParameterLayout, CoversTheArenaWithoutOverlap) {
  for (const auto& config : {TinyConfig(), DenseTied()}) {
    const ParameterLayout layout(config);
    int64_t end = 0, count = 0;
    std::set<std::string> names;
    for (const auto& p : layout.parameters()) {
      EXPECT_EQ(p.offset % 16, 0) << p.name;
      EXPECT_GE(p.offset, end) << p.name;
      EXPECT_LT(p.offset - end, 16) << p.name;
      end = p.offset + p.size();
      count += p.size();
      names.insert(p.name);
      EXPECT_EQ(p.is_norm, p.rows == 1 && p.name.find("norm.weight") != std::string::npos)
          << p.name;
    }
    EXPECT_LE(end, layout.size());
    EXPECT_LT(layout.size() - end, 16);
    EXPECT_EQ(count, config.TotalParameters());
    EXPECT_EQ(names.size(), layout.parameters().size());
    EXPECT_EQ(names.contains("lm_head.weight"), !config.tie_embeddings);
  }
}

TEST(ParameterLayout, BindsEveryParameterInItsPlace) {
  const ParameterLayout layout(TinyConfig());
  Buffer<float> arena(layout.size());
  const Model model = layout.Bind(arena.data());
  const auto offset_of = [&](const std::string& name) {
    for (const auto& p : layout.parameters()) {
      if (p.name == name) return p.offset;
    }
    return int64_t{-1};
  };
  const auto offset = [&](const Weight& w) {
    return reinterpret_cast<const float*>(w.data) - arena.data();
  };
  const auto& layer = model.weights.layers[1];
  EXPECT_EQ(offset(model.weights.embedding), offset_of("model.embed_tokens.weight"));
  EXPECT_EQ(offset(model.weights.head), offset_of("lm_head.weight"));
  EXPECT_EQ(model.weights.final_norm.data() - arena.data(), offset_of("model.norm.weight"));
  EXPECT_EQ(layer.attn_norm.data() - arena.data(),
            offset_of("model.layers.1.input_layernorm.weight"));
  EXPECT_EQ(layer.ffn_norm.data() - arena.data(),
            offset_of("model.layers.1.post_attention_layernorm.weight"));
  EXPECT_EQ(offset(layer.wq), offset_of("model.layers.1.self_attn.q_proj.weight"));
  EXPECT_EQ(offset(layer.wk), offset_of("model.layers.1.self_attn.k_proj.weight"));
  EXPECT_EQ(offset(layer.wv), offset_of("model.layers.1.self_attn.v_proj.weight"));
  EXPECT_EQ(offset(layer.wo), offset_of("model.layers.1.self_attn.o_proj.weight"));
  EXPECT_EQ(offset(layer.router), offset_of("model.layers.1.block_sparse_moe.gate.weight"));
  EXPECT_EQ(offset(layer.experts[3].w1),
            offset_of("model.layers.1.block_sparse_moe.experts.3.w1.weight"));
  EXPECT_EQ(offset(layer.experts[3].w2),
            offset_of("model.layers.1.block_sparse_moe.experts.3.w2.weight"));
  EXPECT_EQ(offset(layer.experts[3].w3),
            offset_of("model.layers.1.block_sparse_moe.experts.3.w3.weight"));
  EXPECT_EQ(layer.experts[3].w2.rows, 16);
  EXPECT_EQ(layer.experts[3].w2.cols, 24);
  EXPECT_EQ(model.config.rope_layout, RopeLayout::kHalfSplit);
}

TEST(ParameterLayout, BindsTheEmbeddingAsTiedHead) {
  const ParameterLayout layout(DenseTied());
  Buffer<float> arena(layout.size());
  const Model model = layout.Bind(arena.data());
  EXPECT_EQ(model.weights.head.data, model.weights.embedding.data);
  EXPECT_EQ(model.weights.layers[0].router.data, nullptr);
}

TEST(CopyToArena, GivesBackWhatWasBound) {
  for (const auto& config : {TinyConfig(), DenseTied()}) {
    const ParameterLayout layout(config);
    const auto arena = RandomArena(layout);
    EXPECT_TRUE(SameBits(ArenaOf(layout.Bind(arena.data())), arena));
  }
}

// The same model in five forms on disk; GGUF's rows of q and k stand in another order.
TEST(CopyToArena, GivesOneArenaForEveryForm) {
  const auto mixtral = LoadedModel::Load(GoldenPath("mixtral"));
  const auto expected = ArenaOf(mixtral.model());
  for (const char* name : {"mixtral_fused", "mixtral_sharded", "mixtral_gguf_f32"}) {
    const auto other = LoadedModel::Load(GoldenPath(name));
    EXPECT_TRUE(SameBits(ArenaOf(other.model()), expected)) << name;
  }
  const auto gguf = LoadedModel::Load(GoldenPath("mixtral_gguf_f32"));
  EXPECT_EQ(gguf.model().config.rope_layout, RopeLayout::kInterleaved);
  EXPECT_NE(
      std::memcmp(gguf.model().weights.layers[0].wq.data, mixtral.model().weights.layers[0].wq.data,
                  static_cast<size_t>(mixtral.model().weights.layers[0].wq.bytes())),
      0);
}

// The goldens in BF16 are the F32 one rounded; GGUF keeps norms and router in F32.
TEST(CopyToArena, DecodesStoredTypesExactly) {
  const auto exact = ArenaOf(LoadedModel::Load(GoldenPath("mixtral")).model());
  const auto hugging_face = ArenaOf(LoadedModel::Load(GoldenPath("mixtral_bf16")).model());
  const auto gguf_model = LoadedModel::Load(GoldenPath("mixtral_gguf_bf16"));
  const auto gguf = ArenaOf(gguf_model.model());
  const ParameterLayout layout(gguf_model.model().config);
  for (const auto& p : layout.parameters()) {
    const bool kept = p.is_norm || p.name.ends_with("moe.gate.weight");
    for (int64_t i = p.offset; i < p.offset + p.size(); ++i) {
      const float rounded = ToFloat(ToBF16(exact[i]));
      ASSERT_EQ(hugging_face[i], rounded) << p.name;
      ASSERT_EQ(gguf[i], kept ? exact[i] : rounded) << p.name;
    }
  }
}

}  // namespace
}  // namespace cadre
