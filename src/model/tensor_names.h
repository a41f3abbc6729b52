// What tensors are called in the layouts Cadre reads and writes. Source: transformers
// conversion_mapping.py; mistral-inference transformer.py; gguf-py tensor_mapping.py.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace cadre {

enum class TensorLayout {
  kHuggingFace,  // model.layers.0.self_attn.q_proj.weight
  kMistral,      // layers.0.attention.wq.weight
  kGguf,         // blk.0.attn_q.weight
};

class TensorNames {
 public:
  TensorNames(TensorLayout layout, bool dense);

  std::string Embedding() const;
  std::string FinalNorm() const;
  std::string Head() const;
  std::string AttnNorm(int64_t layer) const;
  std::string FfnNorm(int64_t layer) const;
  // projection: 'q', 'k', 'v' or 'o'.
  std::string Attention(int64_t layer, char projection) const;
  std::string Router(int64_t layer) const;
  // matrix: 1 (gate), 2 (down) or 3 (up). A 2-D tensor per expert (in GGUF: files of before April
  // 2024); in a dense model the layer's one FFN.
  std::string Expert(int64_t layer, int64_t expert, int matrix) const;

  // Tensors that hold all experts of a layer.
  // GGUF: one 3-D tensor per matrix, [E, f, d] or [E, d, f].
  std::string MergedExperts(int64_t layer, int matrix) const;
  // Gate and up in one, [E, 2f, d], gate rows first: GGUF of 2026, transformers 5 (which names the
  // others FusedDown, [E, d, f], and FusedRouter). Empty in Mistral's layout, which has no such.
  std::string FusedGateUp(int64_t layer) const;
  std::string FusedDown(int64_t layer) const;
  std::string FusedRouter(int64_t layer) const;

  // Buffers some checkpoints carry that hold no weights.
  static bool IsIgnored(std::string_view name);

 private:
  struct Spelling;
  static const Spelling& SpellingOf(TensorLayout layout);
  std::string InLayer(int64_t layer, std::string_view name) const;

  const Spelling& spelling_;
  TensorLayout layout_;
  bool dense_;
};

}  // namespace cadre
