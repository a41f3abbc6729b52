#include "model/adapters.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "model/tensor_names.h"

namespace cadre {
namespace {

constexpr std::string_view kNames[] = {"q", "k", "v", "o", "w1", "w2", "w3"};
constexpr std::string_view kWeight = ".weight";

}  // namespace

std::string_view Name(AdaptedMatrix matrix) { return kNames[static_cast<size_t>(matrix)]; }

std::optional<AdaptedMatrix> AdaptedMatrixOf(std::string_view name) {
  const auto* found = std::find(std::begin(kNames), std::end(kNames), name);
  if (found == std::end(kNames)) return std::nullopt;
  return static_cast<AdaptedMatrix>(found - std::begin(kNames));
}

Weight& MatrixOf(ModelWeights& weights, const Adapter& adapter) {
  LayerWeights& layer = weights.layers[static_cast<size_t>(adapter.layer)];
  const auto expert = [&]() -> ExpertWeights& {
    return layer.experts[static_cast<size_t>(adapter.expert)];
  };
  switch (adapter.matrix) {
    case AdaptedMatrix::kQuery:
      return layer.wq;
    case AdaptedMatrix::kKey:
      return layer.wk;
    case AdaptedMatrix::kValue:
      return layer.wv;
    case AdaptedMatrix::kOutput:
      return layer.wo;
    case AdaptedMatrix::kGate:
      return expert().w1;
    case AdaptedMatrix::kDown:
      return expert().w2;
    case AdaptedMatrix::kUp:
      return expert().w3;
  }
  CADRE_CHECK(false && "a matrix outside the list");
  return layer.wq;
}

const Weight& MatrixOf(const ModelWeights& weights, const Adapter& adapter) {
  return MatrixOf(const_cast<ModelWeights&>(weights), adapter);
}

std::string ModuleOf(const Adapter& adapter, bool dense) {
  const TensorNames names(TensorLayout::kHuggingFace, dense);
  const auto place = static_cast<int>(adapter.matrix);
  std::string name = IsOfExpert(adapter.matrix)
                         ? names.Expert(adapter.layer, adapter.expert,
                                        place - static_cast<int>(AdaptedMatrix::kGate) + 1)
                         : names.Attention(adapter.layer, Name(adapter.matrix)[0]);
  CADRE_CHECK(name.ends_with(kWeight));
  return name.substr(0, name.size() - kWeight.size());
}

void AddLowRankRow(const LowRank& low_rank, int64_t row, std::span<float> values) {
  const auto* up = reinterpret_cast<const float*>(low_rank.up.row(row));
  std::vector<double> sums(values.size());
  for (int64_t r = 0; r < low_rank.rank(); ++r) {
    const auto* down = reinterpret_cast<const float*>(low_rank.down.row(r));
    for (size_t k = 0; k < sums.size(); ++k) sums[k] += double{up[r]} * double{down[k]};
  }
  for (size_t k = 0; k < sums.size(); ++k)
    values[k] = static_cast<float>(double{values[k]} + double{low_rank.scale} * sums[k]);
}

float LoraConfig::scale() const {
  const auto r = static_cast<double>(rank);
  const double a = alpha > 0 ? alpha : 2 * r;
  return static_cast<float>(a / (rank_stabilised ? std::sqrt(r) : r));
}

std::vector<Adapter> AdaptersFor(const ModelConfig& model, const LoraConfig& config) {
  CADRE_CHECK(config.rank > 0);
  const int64_t most = std::min({model.dim, model.hidden_dim, model.kv_dim(), model.q_dim()});
  if (config.rank > most) {
    throw Error("lora.rank is {} but the model's matrices have no more than {}", config.rank, most);
  }
  std::vector<Adapter> adapters;
  for (int64_t l = 0; l < model.num_layers; ++l) {
    const auto add = [&](int64_t expert, bool of_expert) {
      for (const AdaptedMatrix matrix : config.matrices)
        if (IsOfExpert(matrix) == of_expert)
          adapters.push_back({l, expert, matrix, config.rank, config.scale()});
    };
    add(0, false);
    for (int64_t e = 0; e < model.router.num_experts; ++e) add(e, true);
  }
  return adapters;
}

}  // namespace cadre
