#include "train/router_health.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace cadre {
namespace {

constexpr double kDeadShare = 0.01;
constexpr double kCollapsedEntropy = 0.5;

double Entropy(std::span<const double> load, double total) {
  double entropy = 0;
  for (const double value : load) {
    if (value > 0) entropy -= value / total * std::log(value / total);
  }
  return entropy;
}

}  // namespace

bool RouterHealth::well() const {
  return collapsed.empty() &&
         std::all_of(dead.begin(), dead.end(), [](const auto& experts) { return experts.empty(); });
}

RouterHealth ExamineLoad(std::span<const double> layer_load, int64_t num_experts) {
  CADRE_CHECK(num_experts > 0 && std::ssize(layer_load) % num_experts == 0);
  RouterHealth health;
  for (int64_t l = 0; l * num_experts < std::ssize(layer_load); ++l) {
    const auto load =
        layer_load.subspan(static_cast<size_t>(l * num_experts), static_cast<size_t>(num_experts));
    double total = 0;
    for (const double value : load) total += value;
    auto& dead = health.dead.emplace_back();
    if (num_experts == 1 || total <= 0) {
      health.load_entropy.push_back(1);
      continue;
    }
    const auto experts = static_cast<double>(num_experts);
    for (int64_t e = 0; e < num_experts; ++e) {
      if (load[static_cast<size_t>(e)] < kDeadShare * total / experts) dead.push_back(e);
    }
    health.load_entropy.push_back(Entropy(load, total) / std::log(experts));
    if (health.load_entropy.back() < kCollapsedEntropy) health.collapsed.push_back(l);
  }
  return health;
}

std::vector<std::string> RouterAlarm::Watch(const RouterHealth& health) {
  layers_.resize(health.dead.size());
  std::vector<std::string> sentences;
  for (size_t l = 0; l < layers_.size(); ++l) {
    Lasting& layer = layers_[l];
    const auto& dead = health.dead[l];
    if (layer.dead != dead) {
      // Only experts that stay dead go on counting; a new one begins its own patience.
      const bool fewer = !dead.empty() && std::includes(layer.dead.begin(), layer.dead.end(),
                                                        dead.begin(), dead.end());
      if (!fewer) layer.steps = 0;
      layer.dead = dead;
    }
    layer.steps = dead.empty() ? 0 : layer.steps + 1;
    if (layer.steps == patience_) {
      sentences.push_back(fmt::format(
          "layer {}: expert{} {} got hardly a token for {} steps: dead; a larger train.balance, "
          "router.jitter or train.z_loss may help",
          l, dead.size() == 1 ? "" : "s", fmt::join(dead, ", "), patience_));
    }
    const bool collapsed = std::find(health.collapsed.begin(), health.collapsed.end(),
                                     static_cast<int64_t>(l)) != health.collapsed.end();
    layer.collapsed_steps = collapsed ? layer.collapsed_steps + 1 : 0;
    if (layer.collapsed_steps == patience_) {
      sentences.push_back(fmt::format(
          "layer {}: the router has collapsed onto few experts (load entropy {:.2f} of 1) for {} "
          "steps",
          l, health.load_entropy[l], patience_));
    }
  }
  return sentences;
}

}  // namespace cadre
