#include "quantize/matrices.h"

namespace cadre {

std::vector<NamedMatrix> MatricesOf(const Model& model) {
  const bool dense = model.config.router.dense();
  const TensorNames names(TensorLayout::kGguf, dense);
  std::vector<NamedMatrix> matrices;
  for (int64_t l = 0; l < model.config.num_layers; ++l) {
    const LayerWeights& w = model.weights.layers[static_cast<size_t>(l)];
    matrices.push_back({names.Attention(l, 'q'), TensorRole::kQuery, l, -1, &w.wq});
    matrices.push_back({names.Attention(l, 'k'), TensorRole::kKey, l, -1, &w.wk});
    matrices.push_back({names.Attention(l, 'v'), TensorRole::kValue, l, -1, &w.wv});
    matrices.push_back({names.Attention(l, 'o'), TensorRole::kOutput, l, -1, &w.wo});
    if (!dense) matrices.push_back({names.Router(l), TensorRole::kRouter, l, -1, &w.router});
    for (int64_t e = 0; e < std::ssize(w.experts); ++e) {
      const ExpertWeights& expert = w.experts[static_cast<size_t>(e)];
      const auto add = [&](int matrix, TensorRole role, const Weight& weight) {
        matrices.push_back({dense ? names.Expert(l, 0, matrix) : names.MergedExperts(l, matrix),
                            role, l, dense ? -1 : e, &weight});
      };
      add(1, TensorRole::kGate, expert.w1);
      add(2, TensorRole::kDown, expert.w2);
      add(3, TensorRole::kUp, expert.w3);
    }
  }
  matrices.push_back({names.Head(), TensorRole::kHead, -1, -1, &model.weights.head});
  return matrices;
}

}  // namespace cadre
