#include "model/tensor_names.h"

#include <gtest/gtest.h>

namespace cadre {
namespace {

TEST(TensorNames, SpellHuggingFaceNames) {
  const TensorNames names(TensorLayout::kHuggingFace, false);
  EXPECT_EQ(names.Embedding(), "model.embed_tokens.weight");
  EXPECT_EQ(names.FinalNorm(), "model.norm.weight");
  EXPECT_EQ(names.Head(), "lm_head.weight");
  EXPECT_EQ(names.AttnNorm(3), "model.layers.3.input_layernorm.weight");
  EXPECT_EQ(names.FfnNorm(3), "model.layers.3.post_attention_layernorm.weight");
  EXPECT_EQ(names.Attention(0, 'q'), "model.layers.0.self_attn.q_proj.weight");
  EXPECT_EQ(names.Attention(0, 'o'), "model.layers.0.self_attn.o_proj.weight");
  EXPECT_EQ(names.Router(1), "model.layers.1.block_sparse_moe.gate.weight");
  EXPECT_EQ(names.Expert(1, 7, 2), "model.layers.1.block_sparse_moe.experts.7.w2.weight");
  EXPECT_EQ(names.FusedGateUp(1), "model.layers.1.mlp.experts.gate_up_proj");
  EXPECT_EQ(names.FusedDown(1), "model.layers.1.mlp.experts.down_proj");
  EXPECT_EQ(names.FusedRouter(1), "model.layers.1.mlp.gate.weight");
}

TEST(TensorNames, SpellGgufNames) {
  const TensorNames names(TensorLayout::kGguf, false);
  EXPECT_EQ(names.Embedding(), "token_embd.weight");
  EXPECT_EQ(names.FinalNorm(), "output_norm.weight");
  EXPECT_EQ(names.Head(), "output.weight");
  EXPECT_EQ(names.AttnNorm(3), "blk.3.attn_norm.weight");
  EXPECT_EQ(names.FfnNorm(3), "blk.3.ffn_norm.weight");
  EXPECT_EQ(names.Attention(0, 'k'), "blk.0.attn_k.weight");
  EXPECT_EQ(names.Attention(0, 'o'), "blk.0.attn_output.weight");
  EXPECT_EQ(names.Router(1), "blk.1.ffn_gate_inp.weight");
  EXPECT_EQ(names.MergedExperts(1, 1), "blk.1.ffn_gate_exps.weight");
  EXPECT_EQ(names.MergedExperts(1, 2), "blk.1.ffn_down_exps.weight");
  EXPECT_EQ(names.MergedExperts(1, 3), "blk.1.ffn_up_exps.weight");
  EXPECT_EQ(names.Expert(1, 7, 3), "blk.1.ffn_up.7.weight");
}

TEST(TensorNames, SpellTheOneFfnOfADenseModel) {
  const TensorNames hugging_face(TensorLayout::kHuggingFace, true), gguf(TensorLayout::kGguf, true);
  EXPECT_EQ(hugging_face.Expert(2, 0, 1), "model.layers.2.mlp.gate_proj.weight");
  EXPECT_EQ(hugging_face.Expert(2, 0, 2), "model.layers.2.mlp.down_proj.weight");
  EXPECT_EQ(hugging_face.Expert(2, 0, 3), "model.layers.2.mlp.up_proj.weight");
  EXPECT_EQ(gguf.Expert(2, 0, 1), "blk.2.ffn_gate.weight");
}

TEST(TensorNames, KnowBuffersWithoutWeights) {
  EXPECT_TRUE(TensorNames::IsIgnored("model.layers.0.self_attn.rotary_emb.inv_freq"));
  EXPECT_FALSE(TensorNames::IsIgnored("model.norm.weight"));
  EXPECT_FALSE(TensorNames::IsIgnored(""));
}

}  // namespace
}  // namespace cadre
