#include "plan/routing.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "base/random.h"

namespace cadre {
namespace {

// P(no expert shared) of Mixtral's neighbours over that of chance, 15/28, by depth in the model.
constexpr double kChance = 15.0 / 28;
constexpr double kApart[] = {(1 - .480) / kChance, (1 - .637) / kChance, (1 - .509) / kChance};

// Linear between the three layers that the paper's table shows.
double ApartAt(int64_t layer, int64_t num_layers) {
  if (num_layers == 1) return kApart[0];
  const double place = 2.0 * static_cast<double>(layer) / static_cast<double>(num_layers - 1);
  const auto left = std::min<size_t>(1, static_cast<size_t>(place));
  return kApart[left] + (place - static_cast<double>(left)) * (kApart[left + 1] - kApart[left]);
}

// A token's experts after `before`.
std::vector<int32_t> Next(const std::vector<int32_t>& before, const RouterConfig& router,
                          double stay, Random& random) {
  std::vector<int32_t> chosen;
  for (const int32_t expert : before)
    if (random.NextDouble() < stay) chosen.push_back(expert);
  while (std::ssize(chosen) < router.top_k) {
    const auto expert =
        static_cast<int32_t>(random.NextBelow(static_cast<uint64_t>(router.num_experts)));
    if (std::find(chosen.begin(), chosen.end(), expert) == chosen.end()) chosen.push_back(expert);
  }
  return chosen;
}

}  // namespace

RoutingTrace::RoutingTrace(std::vector<std::vector<std::vector<int32_t>>> choices)
    : choices_(std::move(choices)) {
  CADRE_CHECK(!choices_.empty() && !choices_[0].empty());
  for (const auto& layer : choices_) CADRE_CHECK(layer.size() == choices_[0].size());
}

std::vector<int32_t> RoutingTrace::Union(int64_t layer, int64_t begin, int64_t count) const {
  std::vector<int32_t> all;
  for (int64_t t = begin; t < begin + std::min(count, num_tokens()); ++t) {
    const auto& chosen = At(layer, t);
    all.insert(all.end(), chosen.begin(), chosen.end());
  }
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  return all;
}

RoutingTrace StickyTrace(const ModelConfig& config, const std::vector<double>& stay, int64_t tokens,
                         uint64_t seed) {
  std::vector<std::vector<std::vector<int32_t>>> choices;
  for (int64_t l = 0; l < config.num_layers; ++l) {
    Random random(seed, static_cast<uint64_t>(l));
    auto& layer = choices.emplace_back();
    for (int64_t t = 0; t < tokens; ++t) {
      layer.push_back(Next(t == 0 ? std::vector<int32_t>() : layer.back(), config.router,
                           stay[static_cast<size_t>(l)], random));
    }
  }
  return RoutingTrace(std::move(choices));
}

// None stays with (1 - stay)^k, and then none is shared with the probability of chance.
RoutingTrace PublishedLocality(const ModelConfig& config, int64_t tokens, uint64_t seed) {
  std::vector<double> stay;
  for (int64_t l = 0; l < config.num_layers; ++l) {
    stay.push_back(
        1 - std::pow(ApartAt(l, config.num_layers), 1 / static_cast<double>(config.router.top_k)));
  }
  return StickyTrace(config, stay, tokens, seed);
}

}  // namespace cadre
