#include "model/save.h"

#include "base/atomic_file.h"
#include "base/json.h"
#include "formats/gguf_writer.h"
#include "formats/safetensors.h"
#include "model/config_files.h"
#include "model/rope_rows.h"
#include "model/tensor_names.h"
#include "tensor/quant.h"

namespace cadre {
namespace {

// general.file_type of a file whose matrices are mostly `type`.
uint32_t GgufFileType(DType type) {
  switch (type) {
    case DType::kF32:
      return 0;
    case DType::kF16:
      return 1;
    case DType::kQ4_0:
      return 2;
    case DType::kQ4_1:
      return 3;
    case DType::kQ8_0:
      return 7;
    case DType::kQ5_0:
      return 8;
    case DType::kQ5_1:
      return 9;
    case DType::kQ2_K:
      return 10;
    case DType::kQ3_K:
      return 12;
    case DType::kQ4_K:
      return 14;
    case DType::kQ5_K:
      return 16;
    case DType::kQ6_K:
      return 18;
    case DType::kIQ4_NL:
      return 25;
    case DType::kIQ4_XS:
      return 30;
    case DType::kBF16:
      return 32;
  }
  CADRE_CHECK(false && "a DType outside the table");
  return 0;
}

DType TypeForRows(DType wanted, int64_t cols) {
  for (const DType type : {wanted, DType::kQ8_0}) {
    if (cols % Info(type).block_elems == 0) return type;
  }
  return DType::kF16;
}

void SetModelMetadata(const ModelConfig& c, DType type, const std::string& name,
                      GgufWriter& writer) {
  writer.SetString("general.architecture", "llama");
  writer.SetString("general.name", name);
  writer.SetU32("general.file_type", GgufFileType(type));
  writer.SetU32("general.quantization_version", 2);
  const auto u32 = [&](const char* key, int64_t value) {
    writer.SetU32(key, static_cast<uint32_t>(value));
  };
  u32("llama.vocab_size", c.vocab_size);
  u32("llama.context_length", c.context_length);
  u32("llama.embedding_length", c.dim);
  u32("llama.block_count", c.num_layers);
  u32("llama.feed_forward_length", c.hidden_dim);
  u32("llama.rope.dimension_count", c.head_dim);
  u32("llama.attention.head_count", c.num_heads);
  u32("llama.attention.head_count_kv", c.num_kv_heads);
  u32("llama.attention.key_length", c.head_dim);
  u32("llama.attention.value_length", c.head_dim);
  if (c.sliding_window > 0) u32("llama.attention.sliding_window", c.sliding_window);
  writer.SetF32("llama.attention.layer_norm_rms_epsilon", c.rms_norm_eps);
  writer.SetF32("llama.rope.freq_base", static_cast<float>(c.rope_theta));
  if (!c.router.dense()) {
    u32("llama.expert_count", c.router.num_experts);
    u32("llama.expert_used_count", c.router.top_k);
  }
}

void SetVocabularyMetadata(const GgufVocabulary& vocabulary, GgufWriter& writer) {
  writer.SetString("tokenizer.ggml.model", "llama");
  writer.SetString("tokenizer.ggml.pre", "default");
  writer.SetStringArray("tokenizer.ggml.tokens", std::span<const std::string>(vocabulary.tokens));
  writer.SetF32Array("tokenizer.ggml.scores", vocabulary.scores);
  writer.SetI32Array("tokenizer.ggml.token_type", vocabulary.types);
  writer.SetU32("tokenizer.ggml.bos_token_id", static_cast<uint32_t>(vocabulary.bos_id));
  writer.SetU32("tokenizer.ggml.eos_token_id", static_cast<uint32_t>(vocabulary.eos_id));
  writer.SetU32("tokenizer.ggml.unknown_token_id", static_cast<uint32_t>(vocabulary.unknown_id));
  writer.SetBool("tokenizer.ggml.add_bos_token", true);
  writer.SetBool("tokenizer.ggml.add_eos_token", false);
  writer.SetBool("tokenizer.ggml.add_space_prefix", true);
  if (!vocabulary.chat_template.empty())
    writer.SetString("tokenizer.chat_template", vocabulary.chat_template);
}

// One tensor of the file: matrices that stand one after another in it (the experts of a layer), or
// one.
struct GgufTensorPlan {
  std::string name;
  DType type;
  std::vector<int64_t> shape;
  std::vector<Weight> parts;
  bool rotated = false;  // rows change place between the RoPE layouts
};

std::vector<GgufTensorPlan> PlanTensors(const Model& model, DType type) {
  const ModelConfig& c = model.config;
  const TensorNames names(TensorLayout::kGguf, c.router.dense());
  std::vector<GgufTensorPlan> plan;
  const auto matrix = [&](std::string name, const Weight& w, bool rotated = false) {
    plan.push_back({std::move(name), TypeForRows(type, w.cols), {w.rows, w.cols}, {w}, rotated});
  };
  const auto norm = [&](std::string name, std::span<const float> values) {
    const Weight w{reinterpret_cast<const std::byte*>(values.data()), DType::kF32, 1, c.dim};
    plan.push_back({std::move(name), DType::kF32, {c.dim}, {w}});
  };
  matrix(names.Embedding(), model.weights.embedding);
  for (int64_t l = 0; l < c.num_layers; ++l) {
    const LayerWeights& w = model.weights.layers[static_cast<size_t>(l)];
    norm(names.AttnNorm(l), w.attn_norm);
    matrix(names.Attention(l, 'q'), w.wq, true);
    matrix(names.Attention(l, 'k'), w.wk, true);
    matrix(names.Attention(l, 'v'), w.wv);
    matrix(names.Attention(l, 'o'), w.wo);
    norm(names.FfnNorm(l), w.ffn_norm);
    const auto experts = [&](int number, Weight ExpertWeights::*member) {
      const Weight& first = w.experts[0].*member;
      if (c.router.dense()) return matrix(names.Expert(l, 0, number), first);
      GgufTensorPlan merged{names.MergedExperts(l, number),
                            TypeForRows(type, first.cols),
                            {c.router.num_experts, first.rows, first.cols},
                            {}};
      for (const auto& expert : w.experts) merged.parts.push_back(expert.*member);
      plan.push_back(std::move(merged));
    };
    if (!c.router.dense()) {
      plan.push_back({names.Router(l), DType::kF32, {w.router.rows, w.router.cols}, {w.router}});
    }
    experts(1, &ExpertWeights::w1);
    experts(2, &ExpertWeights::w2);
    experts(3, &ExpertWeights::w3);
  }
  norm(names.FinalNorm(), model.weights.final_norm);
  if (!c.tie_embeddings) matrix(names.Head(), model.weights.head);
  return plan;
}

}  // namespace

void SaveHuggingFace(const ModelConfig& config, const float* arena, const std::string& folder) {
  const ParameterLayout layout(config);
  SafetensorsWriter writer(folder + "/model.safetensors", {{"format", "pt"}});
  for (const auto& p : layout.parameters()) {
    std::vector<int64_t> shape = {p.rows, p.cols};
    if (p.is_norm) shape = {p.cols};
    writer.Declare(p.name, SafetensorsType::kF32, shape);
  }
  for (const auto& p : layout.parameters()) {
    writer.Append(std::as_bytes(std::span(arena + p.offset, static_cast<size_t>(p.size()))));
  }
  writer.Commit();
  WriteFileAtomically(folder + "/config.json", ConfigToJson(config).dump(2) + "\n");
}

void SaveGguf(const ModelConfig& config, const float* arena, DType type,
              const GgufVocabulary& vocabulary, const std::string& name, const std::string& path) {
  CADRE_CHECK(static_cast<int64_t>(vocabulary.tokens.size()) == config.vocab_size);
  const Model model = ParameterLayout(config).Bind(const_cast<float*>(arena));
  const auto plan = PlanTensors(model, type);
  GgufWriter writer(path);
  SetModelMetadata(config, type, name, writer);
  SetVocabularyMetadata(vocabulary, writer);
  for (const auto& tensor : plan) writer.Declare(tensor.name, tensor.type, tensor.shape);
  std::vector<std::byte> row;
  for (const auto& tensor : plan) {
    for (const Weight& w : tensor.parts) {
      row.resize(static_cast<size_t>(RowBytes(tensor.type, w.cols)));
      for (int64_t r = 0; r < w.rows; ++r) {
        const int64_t source = tensor.rotated ? HalfSplitRow(r, config.head_dim) : r;
        const auto* values = reinterpret_cast<const float*>(w.row(source));
        EncodeRow(tensor.type, {values, static_cast<size_t>(w.cols)}, row.data());
        writer.Append(row);
      }
    }
  }
  writer.Commit();
}

}  // namespace cadre
