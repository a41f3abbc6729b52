// What tensors are called in the layouts Cadre reads and writes. Source: transformers
// conversion_mapping.py; gguf-py tensor_mapping.py.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace cadre {

enum class TensorLayout {
  kHuggingFace,  // model.layers.0.self_attn.q_proj.weight
  kGguf,         // blk.0.attn_q.weight
};

class TensorNames {
 public:
  explicit TensorNames(TensorLayout layout, bool dense)
      : gguf_(layout == TensorLayout::kGguf), dense_(dense) {}

  std::string Embedding() const {
    return gguf_ ? "token_embd.weight" : "model.embed_tokens.weight";
  }
  std::string FinalNorm() const { return gguf_ ? "output_norm.weight" : "model.norm.weight"; }
  std::string Head() const { return gguf_ ? "output.weight" : "lm_head.weight"; }
  std::string AttnNorm(int64_t layer) const;
  std::string FfnNorm(int64_t layer) const;
  // projection: 'q', 'k', 'v' or 'o'.
  std::string Attention(int64_t layer, char projection) const;
  std::string Router(int64_t layer) const;
  // matrix: 1 (gate), 2 (down) or 3 (up). A 2-D tensor per expert; in a dense model the layer's one
  // FFN.
  std::string Expert(int64_t layer, int64_t expert, int matrix) const;
  // GGUF: all experts' matrix as one 3-D tensor.
  std::string MergedExperts(int64_t layer, int matrix) const;
  // Hugging Face, transformers 5: [E, 2f, d] (gate rows first) and [E, d, f]; the router beside
  // them.
  std::string FusedGateUp(int64_t layer) const;
  std::string FusedDown(int64_t layer) const;
  std::string FusedRouter(int64_t layer) const;

  // Buffers some checkpoints carry that hold no weights.
  static bool IsIgnored(std::string_view name);

 private:
  std::string Prefix(int64_t layer) const;
  bool gguf_;
  bool dense_;
};

}  // namespace cadre
