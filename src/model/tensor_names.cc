#include "model/tensor_names.h"

#include <fmt/format.h>

#include "base/error.h"

namespace cadre {

// Everything below `layers` follows the layer's number; an expert's number stands between
// `experts` and its matrix. Matrices are gate, down, up.
struct TensorNames::Spelling {
  const char *embedding, *final_norm, *head;
  const char* layers;
  const char *attn_norm, *ffn_norm;
  const char *q, *k, *v, *o;
  const char* router;
  const char* dense[3];
  const char *expert_prefix[3], *expert_suffix[3];
  const char *fused_gate_up, *fused_down, *fused_router;  // empty: none
};

const TensorNames::Spelling& TensorNames::SpellingOf(TensorLayout layout) {
  static constexpr Spelling kHuggingFace = {
      .embedding = "model.embed_tokens.weight",
      .final_norm = "model.norm.weight",
      .head = "lm_head.weight",
      .layers = "model.layers.",
      .attn_norm = "input_layernorm.weight",
      .ffn_norm = "post_attention_layernorm.weight",
      .q = "self_attn.q_proj.weight",
      .k = "self_attn.k_proj.weight",
      .v = "self_attn.v_proj.weight",
      .o = "self_attn.o_proj.weight",
      .router = "block_sparse_moe.gate.weight",
      .dense = {"mlp.gate_proj.weight", "mlp.down_proj.weight", "mlp.up_proj.weight"},
      .expert_prefix = {"block_sparse_moe.experts.", "block_sparse_moe.experts.",
                        "block_sparse_moe.experts."},
      .expert_suffix = {".w1.weight", ".w2.weight", ".w3.weight"},
      .fused_gate_up = "mlp.experts.gate_up_proj",
      .fused_down = "mlp.experts.down_proj",
      .fused_router = "mlp.gate.weight"};
  static constexpr Spelling kMistral = {
      .embedding = "tok_embeddings.weight",
      .final_norm = "norm.weight",
      .head = "output.weight",
      .layers = "layers.",
      .attn_norm = "attention_norm.weight",
      .ffn_norm = "ffn_norm.weight",
      .q = "attention.wq.weight",
      .k = "attention.wk.weight",
      .v = "attention.wv.weight",
      .o = "attention.wo.weight",
      .router = "feed_forward.gate.weight",
      .dense = {"feed_forward.w1.weight", "feed_forward.w2.weight", "feed_forward.w3.weight"},
      .expert_prefix = {"feed_forward.experts.", "feed_forward.experts.", "feed_forward.experts."},
      .expert_suffix = {".w1.weight", ".w2.weight", ".w3.weight"},
      .fused_gate_up = "",
      .fused_down = "",
      .fused_router = ""};
  static constexpr Spelling kGguf = {
      .embedding = "token_embd.weight",
      .final_norm = "output_norm.weight",
      .head = "output.weight",
      .layers = "blk.",
      .attn_norm = "attn_norm.weight",
      .ffn_norm = "ffn_norm.weight",
      .q = "attn_q.weight",
      .k = "attn_k.weight",
      .v = "attn_v.weight",
      .o = "attn_output.weight",
      .router = "ffn_gate_inp.weight",
      .dense = {"ffn_gate.weight", "ffn_down.weight", "ffn_up.weight"},
      .expert_prefix = {"ffn_gate.", "ffn_down.", "ffn_up."},
      .expert_suffix = {".weight", ".weight", ".weight"},
      .fused_gate_up = "ffn_gate_up_exps.weight",
      .fused_down = "ffn_down_exps.weight",
      .fused_router = "ffn_gate_inp.weight"};
  switch (layout) {
    case TensorLayout::kHuggingFace:
      return kHuggingFace;
    case TensorLayout::kMistral:
      return kMistral;
    case TensorLayout::kGguf:
      return kGguf;
  }
  CADRE_CHECK(false && "a layout outside the list");
  return kHuggingFace;
}

TensorNames::TensorNames(TensorLayout layout, bool dense)
    : spelling_(SpellingOf(layout)), layout_(layout), dense_(dense) {}

std::string TensorNames::InLayer(int64_t layer, std::string_view name) const {
  return fmt::format("{}{}.{}", spelling_.layers, layer, name);
}

std::string TensorNames::Embedding() const { return spelling_.embedding; }
std::string TensorNames::FinalNorm() const { return spelling_.final_norm; }
std::string TensorNames::Head() const { return spelling_.head; }

std::string TensorNames::AttnNorm(int64_t layer) const {
  return InLayer(layer, spelling_.attn_norm);
}

std::string TensorNames::FfnNorm(int64_t layer) const { return InLayer(layer, spelling_.ffn_norm); }

std::string TensorNames::Attention(int64_t layer, char projection) const {
  switch (projection) {
    case 'q':
      return InLayer(layer, spelling_.q);
    case 'k':
      return InLayer(layer, spelling_.k);
    case 'v':
      return InLayer(layer, spelling_.v);
    default:
      CADRE_CHECK(projection == 'o');
      return InLayer(layer, spelling_.o);
  }
}

std::string TensorNames::Router(int64_t layer) const { return InLayer(layer, spelling_.router); }

std::string TensorNames::Expert(int64_t layer, int64_t expert, int matrix) const {
  CADRE_CHECK(matrix >= 1 && matrix <= 3);
  if (dense_) return InLayer(layer, spelling_.dense[matrix - 1]);
  return InLayer(layer, fmt::format("{}{}{}", spelling_.expert_prefix[matrix - 1], expert,
                                    spelling_.expert_suffix[matrix - 1]));
}

std::string TensorNames::MergedExperts(int64_t layer, int matrix) const {
  CADRE_CHECK(layout_ == TensorLayout::kGguf && matrix >= 1 && matrix <= 3);
  const char* const roles[] = {"gate", "down", "up"};
  return InLayer(layer, fmt::format("ffn_{}_exps.weight", roles[matrix - 1]));
}

std::string TensorNames::FusedGateUp(int64_t layer) const {
  return *spelling_.fused_gate_up == '\0' ? "" : InLayer(layer, spelling_.fused_gate_up);
}
std::string TensorNames::FusedDown(int64_t layer) const {
  return InLayer(layer, spelling_.fused_down);
}
std::string TensorNames::FusedRouter(int64_t layer) const {
  return InLayer(layer, spelling_.fused_router);
}

bool TensorNames::IsIgnored(std::string_view name) {
  for (const std::string_view suffix :
       {".rotary_emb.inv_freq", ".attention.masked_bias", ".attention.bias"}) {
    if (name.ends_with(suffix)) return true;
  }
  return false;
}

}  // namespace cadre
