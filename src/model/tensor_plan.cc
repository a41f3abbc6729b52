#include "model/tensor_plan.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "tensor/quant.h"

namespace cadre {
namespace {

class Planner {
 public:
  Planner(const Model& model, const FileLayout& layout)
      : config_(model.config),
        weights_(model.weights),
        layout_(layout),
        names_(layout.names, model.config.router.dense()) {}

  std::vector<PlannedTensor> Plan() {
    Matrix(names_.Embedding(), TensorRole::kEmbedding, -1, weights_.embedding);
    for (int64_t l = 0; l < config_.num_layers; ++l)
      Layer(l, weights_.layers[static_cast<size_t>(l)]);
    Norm(names_.FinalNorm(), -1, weights_.final_norm);
    if (!config_.tie_embeddings) Matrix(names_.Head(), TensorRole::kHead, -1, weights_.head);
    return std::move(plan_);
  }

 private:
  void Matrix(std::string name, TensorRole role, int64_t layer, const Weight& w) {
    plan_.push_back({std::move(name), role, layer, {w.rows, w.cols}, {w}});
  }

  void Norm(std::string name, int64_t layer, std::span<const float> values) {
    const Weight w{reinterpret_cast<const std::byte*>(values.data()), DType::kF32, 1, config_.dim};
    plan_.push_back({std::move(name), TensorRole::kNorm, layer, {config_.dim}, {w}});
  }

  void Layer(int64_t l, const LayerWeights& w) {
    Norm(names_.AttnNorm(l), l, w.attn_norm);
    Matrix(names_.Attention(l, 'q'), TensorRole::kQuery, l, w.wq);
    Matrix(names_.Attention(l, 'k'), TensorRole::kKey, l, w.wk);
    Matrix(names_.Attention(l, 'v'), TensorRole::kValue, l, w.wv);
    Matrix(names_.Attention(l, 'o'), TensorRole::kOutput, l, w.wo);
    Norm(names_.FfnNorm(l), l, w.ffn_norm);
    if (config_.router.dense()) return Separate(l, w.experts);
    const bool fused = layout_.experts == ExpertLayout::kFused;
    Matrix(fused ? names_.FusedRouter(l) : names_.Router(l), TensorRole::kRouter, l, w.router);
    switch (layout_.experts) {
      case ExpertLayout::kSeparate:
        return Separate(l, w.experts);
      case ExpertLayout::kMerged:
        return Merged(l, w.experts);
      case ExpertLayout::kFused:
        return Fused(l, w.experts);
    }
  }

  void Separate(int64_t l, const std::vector<ExpertWeights>& experts) {
    for (int64_t e = 0; e < std::ssize(experts); ++e) {
      const ExpertWeights& w = experts[static_cast<size_t>(e)];
      Matrix(names_.Expert(l, e, 1), TensorRole::kGate, l, w.w1);
      Matrix(names_.Expert(l, e, 2), TensorRole::kDown, l, w.w2);
      Matrix(names_.Expert(l, e, 3), TensorRole::kUp, l, w.w3);
    }
  }

  // One tensor of these matrices of every expert: [E, their rows together, cols].
  void Together(std::string name, TensorRole role, int64_t l,
                const std::vector<ExpertWeights>& experts,
                std::initializer_list<Weight ExpertWeights::*> matrices) {
    PlannedTensor tensor{std::move(name), role, l, {}, {}};
    for (const auto& expert : experts) {
      for (const auto matrix : matrices) tensor.parts.push_back(expert.*matrix);
    }
    const Weight& first = tensor.parts[0];
    tensor.shape = {std::ssize(experts), first.rows * std::ssize(matrices), first.cols};
    plan_.push_back(std::move(tensor));
  }

  void Merged(int64_t l, const std::vector<ExpertWeights>& experts) {
    if (layout_.names != TensorLayout::kGguf)
      throw Error("merged experts are a layout of GGUF files; these hold separate or fused ones");
    Together(names_.MergedExperts(l, 1), TensorRole::kGate, l, experts, {&ExpertWeights::w1});
    Together(names_.MergedExperts(l, 2), TensorRole::kDown, l, experts, {&ExpertWeights::w2});
    Together(names_.MergedExperts(l, 3), TensorRole::kUp, l, experts, {&ExpertWeights::w3});
  }

  void Fused(int64_t l, const std::vector<ExpertWeights>& experts) {
    if (layout_.names == TensorLayout::kMistral)
      throw Error("Mistral's layout knows no fused experts; it holds separate ones");
    Together(names_.FusedGateUp(l), TensorRole::kGateUp, l, experts,
             {&ExpertWeights::w1, &ExpertWeights::w3});
    Together(names_.FusedDown(l), TensorRole::kDown, l, experts, {&ExpertWeights::w2});
  }

  const ModelConfig& config_;
  const ModelWeights& weights_;
  const FileLayout& layout_;
  TensorNames names_;
  std::vector<PlannedTensor> plan_;
};

// Whether every value of the tensor survives being stored as `type`.
bool HoldsExactly(DType type, const PlannedTensor& tensor) {
  std::vector<float> values(static_cast<size_t>(tensor.cols())), again(values.size());
  std::vector<std::byte> stored(static_cast<size_t>(RowBytes(type, tensor.cols())));
  for (const Weight& w : tensor.parts) {
    for (int64_t r = 0; r < w.rows; ++r) {
      DecodeRow(w.type, w.row(r), values);
      EncodeRow(type, values, stored.data());
      DecodeRow(type, stored.data(), again);
      if (std::memcmp(values.data(), again.data(), values.size() * sizeof(float)) != 0)
        return false;
    }
  }
  return true;
}

double BitsPerValue(DType type) {
  const auto& info = Info(type);
  return 8.0 * info.block_bytes / info.block_elems;
}

}  // namespace

std::vector<PlannedTensor> PlanTensors(const Model& model, const FileLayout& layout) {
  return Planner(model, layout).Plan();
}

DType StoredType(const PlannedTensor& tensor) {
  const auto most = std::max_element(
      tensor.parts.begin(), tensor.parts.end(),
      [](const auto& a, const auto& b) { return BitsPerValue(a.type) < BitsPerValue(b.type); });
  return most->type;
}

DType FittingType(DType wanted, int64_t cols) {
  const auto fits = [cols](DType type) { return cols % Info(type).block_elems == 0; };
  if (fits(wanted)) return wanted;
  DType next = DType::kQ8_0;
  switch (wanted) {
    case DType::kQ2_K:
    case DType::kQ3_K:
    case DType::kIQ4_XS:
      next = DType::kIQ4_NL;
      break;
    case DType::kQ4_K:
      next = DType::kQ5_0;
      break;
    case DType::kQ5_K:
      next = DType::kQ5_1;
      break;
    default:
      break;
  }
  return fits(next) ? next : DType::kF16;
}

DType UniformType(const PlannedTensor& tensor, DType wanted, TensorLayout layout) {
  const bool small = tensor.role == TensorRole::kNorm || tensor.role == TensorRole::kRouter;
  if (!small) return FittingType(wanted, tensor.cols());
  if (layout == TensorLayout::kGguf) return DType::kF32;
  return HoldsExactly(wanted, tensor) ? wanted : DType::kF32;
}

}  // namespace cadre
