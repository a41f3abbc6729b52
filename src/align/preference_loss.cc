#include "align/preference_loss.h"

#include <algorithm>
#include <cmath>

namespace cadre {
namespace {

// -log of the logistic function, without overflow.
double MinusLogSigmoid(double x) { return std::max(-x, 0.0) + std::log1p(std::exp(-std::abs(x))); }

double Sigmoid(double x) {
  const double e = std::exp(-std::abs(x));
  return x >= 0 ? 1 / (1 + e) : e / (1 + e);
}

struct Value {
  double loss = 0;
  double slope = 0;  // by delta
};

Value LossOf(double delta, const PreferenceConfig& c) {
  const double x = c.beta * delta;
  const double e = c.label_smoothing;
  switch (c.loss) {
    case PreferenceLoss::kSigmoid:
      return {(1 - e) * MinusLogSigmoid(x) + e * MinusLogSigmoid(-x),
              c.beta * (Sigmoid(x) - (1 - e))};
    case PreferenceLoss::kIpo: {
      const double distance = delta - 1 / (2 * c.beta);
      return {distance * distance, 2 * distance};
    }
    case PreferenceLoss::kHinge:
      return {std::max(0.0, 1 - x), x < 1 ? -c.beta : 0};
    case PreferenceLoss::kRobust:
      return {((1 - e) * MinusLogSigmoid(x) - e * MinusLogSigmoid(-x)) / (1 - 2 * e),
              -c.beta * ((1 - e) * Sigmoid(-x) + e * Sigmoid(x)) / (1 - 2 * e)};
  }
  return {};
}

struct Ratios {
  double chosen = 0, rejected = 0;
};

Ratios LogRatios(const PairLogProbs& p, const PreferenceConfig& c) {
  if (c.reference_free) return {p.chosen, p.rejected};
  return {p.chosen - p.reference_chosen, p.rejected - p.reference_rejected};
}

}  // namespace

PairLoss ComputePairLoss(const PairLogProbs& p, const PreferenceConfig& c) {
  const Ratios ratios = LogRatios(p, c);
  const double chosen = c.length_normalised ? 1 / static_cast<double>(p.chosen_tokens) : 1;
  const double rejected = c.length_normalised ? 1 / static_cast<double>(p.rejected_tokens) : 1;
  const Value value = LossOf(chosen * ratios.chosen - rejected * ratios.rejected, c);
  return {value.loss, value.slope * chosen, -value.slope * rejected};
}

ImplicitRewards ComputeRewards(const PairLogProbs& pair, const PreferenceConfig& config) {
  const Ratios ratios = LogRatios(pair, config);
  return {config.beta * ratios.chosen, config.beta * ratios.rejected};
}

Interval WilsonInterval(int64_t successes, int64_t trials) {
  if (trials == 0) return {};
  constexpr double kZ = 1.959963984540054;
  const auto n = static_cast<double>(trials);
  const double p = static_cast<double>(successes) / n;
  const double scale = 1 / (1 + kZ * kZ / n);
  const double centre = scale * (p + kZ * kZ / (2 * n));
  const double half = scale * kZ * std::sqrt(p * (1 - p) / n + kZ * kZ / (4 * n * n));
  return {std::max(0.0, centre - half), std::min(1.0, centre + half)};
}

}  // namespace cadre
