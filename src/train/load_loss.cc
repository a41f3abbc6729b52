#include "train/load_loss.h"

#include <cmath>
#include <numbers>

#include "model/router_noise.h"

namespace cadre {
namespace {

// What of token t's noisy logits an expert must beat to be chosen, and by how much it does.
struct Threshold {
  int32_t last;  // the expert chosen last: what one that is not chosen must beat
  int32_t next;  // the best that was not chosen: what a chosen one must stay above
};

Threshold ThresholdOf(std::span<const int32_t> picks, std::span<const float> noisy) {
  Threshold threshold{picks.back(), -1};
  for (int32_t e = 0; e < static_cast<int32_t>(noisy.size()); ++e) {
    bool chosen = false;
    for (const int32_t pick : picks) chosen |= pick == e;
    if (chosen) continue;
    if (threshold.next < 0 ||
        noisy[static_cast<size_t>(e)] > noisy[static_cast<size_t>(threshold.next)])
      threshold.next = e;
  }
  return threshold;
}

// One expert's margin over its threshold, in deviations of its noise.
struct Margin {
  int32_t over;  // the expert whose noisy logit is the threshold
  double deviation;
  double value;
};

Margin MarginOf(const LayerActivations& a, int64_t t, int32_t e, const Threshold& threshold,
                float noise_floor) {
  bool chosen = false;
  for (const int32_t pick : a.routing.experts.row_span(t)) chosen |= pick == e;
  Margin margin{chosen ? threshold.next : threshold.last,
                NoiseDeviation(a.noise_raw.row(t)[e], noise_floor), 0};
  const double clean = static_cast<double>(a.router_logits.row(t)[e]) -
                       static_cast<double>(a.noise.row(t)[e]) * margin.deviation;
  margin.value =
      (clean - static_cast<double>(a.router_logits.row(t)[margin.over])) / margin.deviation;
  return margin;
}

}  // namespace

double SquaredVariation(std::span<const double> values, std::span<double> gradient) {
  const auto n = static_cast<double>(values.size());
  double mean = 0, variance = 0;
  for (const double v : values) mean += v / n;
  for (const double v : values) variance += (v - mean) * (v - mean) / n;
  const double square = mean * mean + 1e-10;
  for (size_t i = 0; i < values.size(); ++i) {
    gradient[i] =
        2 * (values[i] - mean) / (n * square) - 2 * variance * mean / (n * square * square);
  }
  return variance / square;
}

void AddSmoothLoad(const LayerActivations& a, float noise_floor, const RouterLosses& losses,
                   std::span<double> load) {
  const auto num_experts = static_cast<int32_t>(load.size());
  for (int64_t t = 0; t < a.router_logits.rows; ++t) {
    if (!losses.Counts(t)) continue;
    const auto picks = a.routing.experts.row_span(t);
    const Threshold threshold = ThresholdOf(picks, a.router_logits.row_span(t));
    for (int32_t e = 0; e < num_experts; ++e) {
      const double p = threshold.next < 0
                           ? 1
                           : 0.5 * std::erfc(-MarginOf(a, t, e, threshold, noise_floor).value /
                                             std::numbers::sqrt2);
      load[static_cast<size_t>(e)] += p;
    }
  }
}

void AddLoadGradient(const RouterLosses& losses, int64_t layer, const LayerActivations& a,
                     float noise_floor, Mat<float> d_noisy, Mat<float> d_clean,
                     Mat<float> d_deviation) {
  if (losses.d_load.empty()) return;
  const auto num_experts = static_cast<int32_t>(d_noisy.cols);
  const double* slopes =
      &losses.d_load[static_cast<size_t>(layer) * static_cast<size_t>(num_experts)];
  for (int64_t t = 0; t < d_noisy.rows; ++t) {
    if (!losses.Counts(t)) continue;
    const auto picks = a.routing.experts.row_span(t);
    const Threshold threshold = ThresholdOf(picks, a.router_logits.row_span(t));
    if (threshold.next < 0) return;  // every expert is chosen: the load is what it is
    for (int32_t e = 0; e < num_experts; ++e) {
      const Margin m = MarginOf(a, t, e, threshold, noise_floor);
      const double density =
          std::exp(-0.5 * m.value * m.value) * (std::numbers::inv_sqrtpi / std::numbers::sqrt2);
      const double d = slopes[e] * density / m.deviation;
      d_clean.row(t)[e] += static_cast<float>(d);
      d_noisy.row(t)[m.over] -= static_cast<float>(d);
      d_deviation.row(t)[e] -= static_cast<float>(d * m.value);
    }
  }
}

}  // namespace cadre
