// Low-rank adapters beside the matrices of a model: which matrices, of what rank. LoRA, arXiv
// 2106.09685; the scale of rsLoRA, arXiv 2312.03732. What they compute: tensor/weight.h. Their
// values lie in an arena (model/parameters.h); their files: model/adapter_files.h.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/weights.h"

namespace cadre {

enum class AdaptedMatrix { kQuery, kKey, kValue, kOutput, kGate, kDown, kUp };

// q, k, v, o, w1, w2, w3. None: no such matrix.
std::string_view Name(AdaptedMatrix matrix);
std::optional<AdaptedMatrix> AdaptedMatrixOf(std::string_view name);
inline bool IsOfExpert(AdaptedMatrix matrix) { return matrix >= AdaptedMatrix::kGate; }

struct Adapter {
  int64_t layer = 0;
  int64_t expert = 0;  // of an expert's matrix
  AdaptedMatrix matrix = AdaptedMatrix::kQuery;
  int64_t rank = 0;
  float scale = 1;
};

// The adapted matrix of a model; `adapter` is within its shape.
Weight& MatrixOf(ModelWeights& weights, const Adapter& adapter);
const Weight& MatrixOf(const ModelWeights& weights, const Adapter& adapter);
// Its module in Hugging Face's layout: model.layers.0.self_attn.q_proj,
// model.layers.0.block_sparse_moe.experts.3.w1, model.layers.0.mlp.gate_proj.
std::string ModuleOf(const Adapter& adapter, bool dense);

// Adds to `values` ([cols]) what a low rank adds to row `row` of its matrix.
void AddLowRankRow(const LowRank& low_rank, int64_t row, std::span<float> values);

// What is asked of new adapters.
struct LoraConfig {
  int64_t rank = 0;  // 0: none
  double alpha = 0;  // 0: twice the rank
  bool rank_stabilised = false;
  std::vector<AdaptedMatrix> matrices = {
      AdaptedMatrix::kQuery, AdaptedMatrix::kKey,  AdaptedMatrix::kValue, AdaptedMatrix::kOutput,
      AdaptedMatrix::kGate,  AdaptedMatrix::kDown, AdaptedMatrix::kUp};

  // alpha / rank, or alpha / sqrt(rank).
  float scale() const;
};

// One for each matrix that is asked for, of every layer and every expert. Throws Error for a rank
// above what a matrix of the model has.
std::vector<Adapter> AdaptersFor(const ModelConfig& model, const LoraConfig& config);

}  // namespace cadre
