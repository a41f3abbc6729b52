#include "train/losses.h"

namespace cadre {

BalanceLoss ComputeBalanceLoss(Activations& activations, const ModelConfig& config) {
  const auto num_experts = static_cast<size_t>(config.router.num_experts);
  BalanceLoss loss;
  loss.load.assign(num_experts, 0);
  loss.mean_probs.assign(num_experts, 0);
  for (int64_t l = 0; l < config.num_layers; ++l) {
    const Routing& routing = activations.layer(l).routing;
    std::vector<double> counts(num_experts, 0);
    for (int64_t t = 0; t < routing.probs.rows; ++t) {
      for (const int32_t expert : routing.experts.row_span(t)) {
        if (expert >= 0) counts[static_cast<size_t>(expert)] += 1;
      }
      const float* probs = routing.probs.row(t);
      for (size_t e = 0; e < num_experts; ++e) loss.mean_probs[e] += static_cast<double>(probs[e]);
    }
    for (size_t e = 0; e < num_experts; ++e) {
      loss.load[e] += counts[e];
      loss.layer_load.push_back(counts[e] / static_cast<double>(routing.probs.rows));
    }
    loss.rows += routing.probs.rows;
  }
  for (size_t e = 0; e < num_experts; ++e) {
    loss.load[e] /= static_cast<double>(loss.rows);
    loss.mean_probs[e] /= static_cast<double>(loss.rows);
    loss.value += static_cast<double>(num_experts) * loss.load[e] * loss.mean_probs[e];
  }
  return loss;
}

void AddBalanceGradient(const BalanceLoss& loss, double coefficient, const Routing& routing,
                        Mat<float> d_logits) {
  const auto num_experts = static_cast<size_t>(d_logits.cols);
  const double scale =
      coefficient * static_cast<double>(num_experts) / static_cast<double>(loss.rows);
  for (int64_t t = 0; t < d_logits.rows; ++t) {
    const float* probs = routing.probs.row(t);
    double mean_load = 0;
    for (size_t e = 0; e < num_experts; ++e)
      mean_load += loss.load[e] * static_cast<double>(probs[e]);
    float* row = d_logits.row(t);
    for (size_t e = 0; e < num_experts; ++e) {
      row[e] +=
          static_cast<float>(scale * static_cast<double>(probs[e]) * (loss.load[e] - mean_load));
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
