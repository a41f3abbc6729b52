#include "train/losses.h"

#include <algorithm>
#include <cmath>

#include "train/load_loss.h"

namespace cadre {
namespace {

double LogSumExp(std::span<const float> logits) {
  const double max = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - max);
  return max + std::log(sum);
}

double BalanceFactor(BalanceForm form, double num_experts) {
  return form == BalanceForm::kGshard ? 1 / num_experts : num_experts;
}

// Sums over one layer's rows that count; slices of E values.
struct LayerSums {
  std::span<double> load;        // choices
  std::span<double> first_load;  // first choices
  std::span<double> probs;       // softmax over all
  std::span<double> importance;  // gates
  double squared_log_sums = 0;
  int64_t rows = 0;
};

void SumRows(const LayerActivations& a, const RouterLosses& losses, LayerSums& sums) {
  const Routing& routing = a.routing;
  for (int64_t t = 0; t < routing.probs.rows; ++t) {
    if (!losses.Counts(t)) continue;
    ++sums.rows;
    const auto picks = routing.experts.row_span(t);
    for (size_t c = 0; c < picks.size(); ++c) {
      if (picks[c] < 0) continue;
      const auto expert = static_cast<size_t>(picks[c]);
      sums.load[expert] += 1;
      if (c == 0) sums.first_load[expert] += 1;
      sums.importance[expert] += static_cast<double>(routing.gates.row(t)[c]);
    }
    const float* probs = routing.probs.row(t);
    for (size_t e = 0; e < sums.probs.size(); ++e) sums.probs[e] += static_cast<double>(probs[e]);
    if (losses.config.z_coefficient != 0) {
      const double lse = LogSumExp(a.router_logits.row_span(t));
      sums.squared_log_sums += lse * lse;
    }
  }
}

std::span<const float> TargetsOf(const RouterLosses& losses, int64_t layer, int64_t row,
                                 Mat<const float> probs) {
  const auto experts = static_cast<size_t>(probs.cols);
  const auto begin = static_cast<size_t>(layer * probs.rows + row) * experts;
  CADRE_CHECK(begin + experts <= losses.targets.size());
  return losses.targets.subspan(begin, experts);
}

// KL(targets || softmax over all) over the rows that count.
double SumDivergences(const LayerActivations& a, const RouterLosses& losses, int64_t layer) {
  double sum = 0;
  for (int64_t t = 0; t < a.routing.probs.rows; ++t) {
    if (!losses.Counts(t)) continue;
    const auto targets = TargetsOf(losses, layer, t, a.routing.probs);
    const auto logits = a.router_logits.row_span(t);
    const double lse = LogSumExp(logits);
    for (size_t e = 0; e < targets.size(); ++e) {
      const auto p = static_cast<double>(targets[e]);
      if (p > 0) sum += p * (std::log(p) - (static_cast<double>(logits[e]) - lse));
    }
  }
  return sum;
}

double DropRate(const LayerActivations& a) {
  int64_t choices = 0;
  for (int64_t t = 0; t < a.routing.experts.rows; ++t) {
    for (const int32_t pick : a.routing.experts.row_span(t)) choices += pick >= 0;
  }
  return choices == 0 ? 0 : static_cast<double>(a.plan.dropped) / static_cast<double>(choices);
}

// All layers have the same rows, so means over them together are means of their means.
void AverageLayers(size_t num_layers, size_t num_experts, std::span<double> values) {
  for (size_t e = 0; e < num_experts; ++e) {
    double sum = 0;
    for (size_t l = 0; l < num_layers; ++l) sum += values[l * num_experts + e];
    for (size_t l = 0; l < num_layers; ++l)
      values[l * num_experts + e] = sum / static_cast<double>(num_layers);
  }
}

// CV^2 of each layer's `values`, averaged; the slopes of `coefficient` times that go to `slopes`.
double MeanVariation(size_t num_layers, size_t num_experts, double coefficient,
                     std::span<const double> values, std::vector<double>& slopes) {
  slopes.assign(values.size(), 0);
  double mean = 0;
  for (size_t l = 0; l < num_layers; ++l) {
    const size_t begin = l * num_experts;
    mean += SquaredVariation(values.subspan(begin, num_experts),
                             std::span(slopes).subspan(begin, num_experts)) /
            static_cast<double>(num_layers);
  }
  for (double& slope : slopes) slope *= coefficient / static_cast<double>(num_layers);
  return mean;
}

}  // namespace

RouterLosses ComputeRouterLosses(Activations& activations, const ModelConfig& config,
                                 const RouterLossConfig& settings, std::span<const uint8_t> mask,
                                 std::span<const float> anchor_targets) {
  const auto num_experts = static_cast<size_t>(config.router.num_experts);
  const auto num_layers = static_cast<size_t>(config.num_layers);
  const size_t size = num_layers * num_experts;
  RouterLosses losses;
  losses.config = config.router.dense() ? RouterLossConfig{} : settings;
  losses.mask = mask;
  losses.targets = anchor_targets;
  losses.layer_load.assign(size, 0);
  std::vector<double> first_load(size, 0), probs(size, 0), importance(size, 0), load(size, 0);
  for (size_t l = 0; l < num_layers; ++l) {
    const LayerActivations& a = activations.layer(static_cast<int64_t>(l));
    const auto slice = [&](std::vector<double>& values) {
      return std::span(values).subspan(l * num_experts, num_experts);
    };
    LayerSums sums{slice(losses.layer_load), slice(first_load), slice(probs), slice(importance)};
    SumRows(a, losses, sums);
    const auto rows = static_cast<double>(std::max<int64_t>(1, sums.rows));
    for (const auto values : {sums.load, sums.first_load, sums.probs}) {
      for (double& value : values) value /= rows;
    }
    losses.z += sums.squared_log_sums / rows / static_cast<double>(num_layers);
    losses.rows += sums.rows;
    losses.drop_rate.push_back(DropRate(a));
    if (losses.config.anchor_coefficient != 0) {
      losses.anchor += SumDivergences(a, losses, static_cast<int64_t>(l)) / rows /
                       static_cast<double>(num_layers);
    }
    if (losses.config.load_coefficient != 0)
      AddSmoothLoad(a, config.router.noise_floor, losses, slice(load));
  }
  const RouterLossConfig& c = losses.config;
  losses.f = c.balance_form == BalanceForm::kAllChoices ? losses.layer_load : first_load;
  if (c.balance_scope == BalanceScope::kModel) {
    AverageLayers(num_layers, num_experts, losses.f);
    AverageLayers(num_layers, num_experts, probs);
  }
  for (size_t i = 0; i < size; ++i) losses.balance += losses.f[i] * probs[i];
  losses.balance *= BalanceFactor(c.balance_form, static_cast<double>(num_experts)) /
                    static_cast<double>(num_layers);
  if (c.importance_coefficient != 0) {
    losses.importance = MeanVariation(num_layers, num_experts, c.importance_coefficient, importance,
                                      losses.d_importance);
  }
  if (c.load_coefficient != 0)
    losses.load = MeanVariation(num_layers, num_experts, c.load_coefficient, load, losses.d_load);
  losses.total = c.anchor_coefficient * losses.anchor + c.balance_coefficient * losses.balance +
                 c.importance_coefficient * losses.importance + c.load_coefficient * losses.load +
                 c.z_coefficient * losses.z;
  return losses;
}

void AddImportanceGradient(const RouterLosses& losses, int64_t layer, const Routing& routing,
                           Mat<float> d_gates) {
  if (losses.d_importance.empty()) return;
  const double* slopes = &losses.d_importance[static_cast<size_t>(layer * routing.probs.cols)];
  for (int64_t t = 0; t < d_gates.rows; ++t) {
    if (!losses.Counts(t)) continue;
    const auto picks = routing.experts.row_span(t);
    for (size_t c = 0; c < picks.size(); ++c) {
      if (picks[c] >= 0) d_gates.row(t)[c] += static_cast<float>(slopes[picks[c]]);
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

void AddBalanceGradient(const RouterLosses& losses, int64_t layer, const Routing& routing,
                        Mat<float> d_logits) {
  if (losses.config.balance_coefficient == 0 || losses.rows == 0) return;
  const auto num_experts = static_cast<size_t>(d_logits.cols);
  const double* f = &losses.f[static_cast<size_t>(layer) * num_experts];
  const double scale = losses.config.balance_coefficient *
                       BalanceFactor(losses.config.balance_form, static_cast<double>(num_experts)) /
                       static_cast<double>(losses.rows);
  for (int64_t t = 0; t < d_logits.rows; ++t) {
    if (!losses.Counts(t)) continue;
    const float* probs = routing.probs.row(t);
    double mean = 0;
    for (size_t e = 0; e < num_experts; ++e) mean += f[e] * static_cast<double>(probs[e]);
    float* row = d_logits.row(t);
    for (size_t e = 0; e < num_experts; ++e) {
      row[e] += static_cast<float>(scale * static_cast<double>(probs[e]) * (f[e] - mean));
    }
  }
}

void AddZGradient(const RouterLosses& losses, const LayerActivations& a, Mat<float> d_logits) {
  if (losses.config.z_coefficient == 0 || losses.rows == 0) return;
  const double scale = 2 * losses.config.z_coefficient / static_cast<double>(losses.rows);
  for (int64_t t = 0; t < d_logits.rows; ++t) {
    if (!losses.Counts(t)) continue;
    const double lse = LogSumExp(a.router_logits.row_span(t));
    const float* probs = a.routing.probs.row(t);
    float* row = d_logits.row(t);
    for (int64_t e = 0; e < d_logits.cols; ++e)
      row[e] += static_cast<float>(scale * lse * static_cast<double>(probs[e]));
  }
}

void AddAnchorGradient(const RouterLosses& losses, int64_t layer, const Routing& routing,
                       Mat<float> d_logits) {
  if (losses.config.anchor_coefficient == 0 || losses.rows == 0) return;
  const double scale = losses.config.anchor_coefficient / static_cast<double>(losses.rows);
  for (int64_t t = 0; t < d_logits.rows; ++t) {
    if (!losses.Counts(t)) continue;
    const auto targets = TargetsOf(losses, layer, t, routing.probs);
    const float* probs = routing.probs.row(t);
    float* row = d_logits.row(t);
    for (size_t e = 0; e < targets.size(); ++e)
      row[e] += static_cast<float>(
          scale * (static_cast<double>(probs[e]) - static_cast<double>(targets[e])));
  }
}

}  // namespace cadre
