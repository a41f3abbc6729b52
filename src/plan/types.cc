#include "plan/types.h"

#include <algorithm>

#include "base/error.h"

namespace cadre {
namespace {

struct Loss {
  std::string_view mix;
  double kl;
};
constexpr Loss kLosses[] = {
    {"Q8_0", .001355},   {"Q6_K", .005452},   {"Q5_K_M", .010762}, {"Q5_K_S", .016595},
    {"Q5_1", .018045},   {"Q5_0", .022239},   {"Q4_K_M", .031273}, {"IQ4_NL", .035742},
    {"IQ4_XS", .036334}, {"Q4_K_S", .043136}, {"Q4_1", .071683},   {"Q4_0", .071940},
    {"Q3_K_L", .087176}, {"Q3_K_M", .101913}, {"Q3_K_S", .228217}, {"Q2_K", .445132},
};

// Calls visit(matrix, role, layer) for every matrix whose type a mix decides.
template <typename SomeModel, typename Visit>
void ForMatrices(SomeModel& model, const Visit& visit) {
  visit(model.weights.embedding, TensorRole::kEmbedding, int64_t{-1});
  visit(model.weights.head,
        model.config.tie_embeddings ? TensorRole::kEmbedding : TensorRole::kHead, int64_t{-1});
  for (size_t l = 0; l < model.weights.layers.size(); ++l) {
    auto& layer = model.weights.layers[l];
    const auto at = static_cast<int64_t>(l);
    visit(layer.wq, TensorRole::kQuery, at);
    visit(layer.wk, TensorRole::kKey, at);
    visit(layer.wv, TensorRole::kValue, at);
    visit(layer.wo, TensorRole::kOutput, at);
    for (auto& expert : layer.experts) {
      visit(expert.w1, TensorRole::kGate, at);
      visit(expert.w2, TensorRole::kDown, at);
      visit(expert.w3, TensorRole::kUp, at);
    }
  }
}

DType TypeOf(const Mix& mix, TensorRole role, int64_t layer, int64_t cols,
             const ModelConfig& config) {
  return FittingType(TypeInMix(mix, role, layer, config), cols);
}

}  // namespace

std::optional<double> PublishedLoss(std::string_view mix) {
  for (const Loss& loss : kLosses)
    if (loss.mix == mix) return loss.kl;
  return std::nullopt;
}

Model InMix(const Model& model, const Mix& mix) {
  Model in_mix = model;
  ForMatrices(in_mix, [&](Weight& w, TensorRole role, int64_t layer) {
    w.type = TypeOf(mix, role, layer, w.cols, model.config);
    w.packed = nullptr;
  });
  for (auto& layer : in_mix.weights.layers) layer.router.type = DType::kF32;
  return in_mix;
}

double StoredBytes(const Model& model) {
  double bytes = 0;
  ForMatrices(model, [&](const Weight& w, TensorRole, int64_t) {
    const bool is_again = &w == &model.weights.head && model.config.tie_embeddings;
    if (!is_again) bytes += static_cast<double>(w.bytes());
  });
  return bytes;
}

std::map<DType, MatrixShape> TypesOfMixes(const Model& model) {
  std::map<DType, MatrixShape> types;
  for (const Mix& mix : AllMixes()) {
    ForMatrices(model, [&](const Weight& w, TensorRole role, int64_t layer) {
      const DType type = TypeOf(mix, role, layer, w.cols, model.config);
      const bool of_expert = role == TensorRole::kGate || role == TensorRole::kDown;
      if (of_expert || !types.contains(type)) types[type] = {w.rows, w.cols};
    });
  }
  return types;
}

const Mix* MixOf(const Model& model) {
  for (const Mix& mix : AllMixes()) {
    bool is_same = true;
    ForMatrices(model, [&](const Weight& w, TensorRole role, int64_t layer) {
      is_same = is_same && w.type == TypeOf(mix, role, layer, w.cols, model.config);
    });
    if (is_same) return &mix;
  }
  return nullptr;
}

std::vector<TypeOutlook> CompareTypes(
    const Model& model,
    const std::function<std::pair<MemoryPlan, Prediction>(const Model&)>& plan_and_predict) {
  const Mix* own = MixOf(model);
  std::vector<TypeOutlook> types;
  for (const Mix& mix : AllMixes()) {
    const Model in_mix = InMix(model, mix);
    TypeOutlook type{.name = std::string(mix.name),
                     .stored_bytes = StoredBytes(in_mix),
                     .loss = PublishedLoss(mix.name),
                     .is_this = &mix == own,
                     .memory = {},
                     .prediction = {}};
    try {
      std::tie(type.memory, type.prediction) = plan_and_predict(in_mix);
    } catch (const Error&) {  // no room: the table says so
    }
    types.push_back(std::move(type));
  }
  std::stable_sort(types.begin(), types.end(), [](const TypeOutlook& a, const TypeOutlook& b) {
    return a.loss.value_or(1e9) < b.loss.value_or(1e9);
  });
  return types;
}

const TypeOutlook* BestType(const std::vector<TypeOutlook>& types) {
  double fastest = 0;
  for (const auto& type : types)
    if (type.memory) fastest = std::max(fastest, type.prediction.generate_tokens_per_s);
  const TypeOutlook* best = nullptr;
  for (const auto& type : types) {
    if (!type.memory || !type.loss) continue;
    if (2 * type.prediction.generate_tokens_per_s < fastest) continue;
    if (best == nullptr || *type.loss < *best->loss) best = &type;
  }
  return best;
}

}  // namespace cadre
