#include "train/losses.h"

namespace cadre {

BalanceLoss ComputeBalanceLoss(Activations& activations, const ModelConfig& config,
                               BalanceScope scope) {
  const auto num_experts = static_cast<size_t>(config.router.num_experts);
  const auto num_layers = static_cast<size_t>(config.num_layers);
  BalanceLoss loss;
  loss.layer_load.assign(num_layers * num_experts, 0);
  std::vector<double> layer_probs(num_layers * num_experts, 0);
  for (size_t l = 0; l < num_layers; ++l) {
    const Routing& routing = activations.layer(static_cast<int64_t>(l)).routing;
    double* load = &loss.layer_load[l * num_experts];
    double* mean_probs = &layer_probs[l * num_experts];
    for (int64_t t = 0; t < routing.probs.rows; ++t) {
      for (const int32_t expert : routing.experts.row_span(t)) {
        if (expert >= 0) load[expert] += 1;
      }
      const float* probs = routing.probs.row(t);
      for (size_t e = 0; e < num_experts; ++e) mean_probs[e] += static_cast<double>(probs[e]);
    }
    for (size_t e = 0; e < num_experts; ++e) {
      load[e] /= static_cast<double>(routing.probs.rows);
      mean_probs[e] /= static_cast<double>(routing.probs.rows);
    }
    loss.rows += routing.probs.rows;
  }
  // All layers have the same rows, so means over them together are means of their means.
  const auto average = [&](std::vector<double>& values) {
    for (size_t e = 0; e < num_experts; ++e) {
      double sum = 0;
      for (size_t l = 0; l < num_layers; ++l) sum += values[l * num_experts + e];
      for (size_t l = 0; l < num_layers; ++l)
        values[l * num_experts + e] = sum / static_cast<double>(num_layers);
    }
  };
  loss.load = loss.layer_load;
  if (scope == BalanceScope::kModel) {
    average(loss.load);
    average(layer_probs);
  }
  for (size_t i = 0; i < loss.load.size(); ++i) loss.value += loss.load[i] * layer_probs[i];
  loss.value *= static_cast<double>(num_experts) / static_cast<double>(num_layers);
  return loss;
}

void AddBalanceGradient(const BalanceLoss& loss, double coefficient, int64_t layer,
                        const Routing& routing, Mat<float> d_logits) {
  const auto num_experts = static_cast<size_t>(d_logits.cols);
  const double* load = &loss.load[static_cast<size_t>(layer) * num_experts];
  const double scale =
      coefficient * static_cast<double>(num_experts) / static_cast<double>(loss.rows);
  for (int64_t t = 0; t < d_logits.rows; ++t) {
    const float* probs = routing.probs.row(t);
    double mean_load = 0;
    for (size_t e = 0; e < num_experts; ++e) mean_load += load[e] * static_cast<double>(probs[e]);
    float* row = d_logits.row(t);
    for (size_t e = 0; e < num_experts; ++e) {
      row[e] += static_cast<float>(scale * static_cast<double>(probs[e]) * (load[e] - mean_load));
    }
  }
}

void AddGateGradient(const Routing& routing, RouterSoftmax softmax, Mat<const float> d_gates,
                     Mat<float> d_logits) {
  for (int64_t t = 0; t < d_logits.rows; ++t) {
    const auto picks = routing.experts.row_span(t);
    const float* gates = routing.gates.row(t);
    const float* d = d_gates.row(t);
    float* row = d_logits.row(t);
    double mean = 0;
    for (size_t c = 0; c < picks.size(); ++c) {
      if (picks[c] >= 0) mean += static_cast<double>(gates[c]) * static_cast<double>(d[c]);
    }
    for (size_t c = 0; c < picks.size(); ++c) {
      if (picks[c] < 0) continue;
      const double centred = softmax == RouterSoftmax::kAll ? static_cast<double>(d[c])
                                                            : static_cast<double>(d[c]) - mean;
      row[picks[c]] += static_cast<float>(static_cast<double>(gates[c]) * centred);
    }
    if (softmax == RouterSoftmax::kAll) {
      const float* probs = routing.probs.row(t);
      for (int64_t e = 0; e < d_logits.cols; ++e)
        row[e] -= static_cast<float>(static_cast<double>(probs[e]) * mean);
    }
  }
}

}  // namespace cadre
