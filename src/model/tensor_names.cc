#include "model/tensor_names.h"

#include <fmt/format.h>

#include "base/error.h"

namespace cadre {

std::string TensorNames::Prefix(int64_t layer) const {
  return gguf_ ? fmt::format("blk.{}.", layer) : fmt::format("model.layers.{}.", layer);
}

std::string TensorNames::AttnNorm(int64_t layer) const {
  return Prefix(layer) + (gguf_ ? "attn_norm.weight" : "input_layernorm.weight");
}

std::string TensorNames::FfnNorm(int64_t layer) const {
  return Prefix(layer) + (gguf_ ? "ffn_norm.weight" : "post_attention_layernorm.weight");
}

std::string TensorNames::Attention(int64_t layer, char projection) const {
  if (!gguf_) return fmt::format("{}self_attn.{}_proj.weight", Prefix(layer), projection);
  return projection == 'o' ? Prefix(layer) + "attn_output.weight"
                           : fmt::format("{}attn_{}.weight", Prefix(layer), projection);
}

std::string TensorNames::Router(int64_t layer) const {
  return Prefix(layer) + (gguf_ ? "ffn_gate_inp.weight" : "block_sparse_moe.gate.weight");
}

std::string TensorNames::Expert(int64_t layer, int64_t expert, int matrix) const {
  CADRE_CHECK(matrix >= 1 && matrix <= 3);
  const char* const roles[] = {"gate", "down", "up"};
  const char* role = roles[matrix - 1];
  if (dense_)
    return Prefix(layer) +
           (gguf_ ? fmt::format("ffn_{}.weight", role) : fmt::format("mlp.{}_proj.weight", role));
  if (gguf_) return fmt::format("{}ffn_{}.{}.weight", Prefix(layer), role, expert);
  return fmt::format("{}block_sparse_moe.experts.{}.w{}.weight", Prefix(layer), expert, matrix);
}

std::string TensorNames::MergedExperts(int64_t layer, int matrix) const {
  CADRE_CHECK(gguf_ && matrix >= 1 && matrix <= 3);
  const char* const roles[] = {"gate", "down", "up"};
  return fmt::format("{}ffn_{}_exps.weight", Prefix(layer), roles[matrix - 1]);
}

std::string TensorNames::FusedGateUp(int64_t layer) const {
  return Prefix(layer) + "mlp.experts.gate_up_proj";
}
std::string TensorNames::FusedDown(int64_t layer) const {
  return Prefix(layer) + "mlp.experts.down_proj";
}
std::string TensorNames::FusedRouter(int64_t layer) const {
  return Prefix(layer) + "mlp.gate.weight";
}

bool TensorNames::IsIgnored(std::string_view name) {
  for (const std::string_view suffix :
       {".rotary_emb.inv_freq", ".attention.masked_bias", ".attention.bias"}) {
    if (name.size() >= suffix.size() && name.substr(name.size() - suffix.size()) == suffix)
      return true;
  }
  return name == "rope_freqs.weight";
}

}  // namespace cadre
