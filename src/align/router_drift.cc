#include "align/router_drift.h"

#include <algorithm>

#include "base/atomic_file.h"
#include "base/json.h"
#include "base/log.h"

namespace cadre {

int64_t DriftRows(const ModelConfig& config) {
  constexpr int64_t kFewest = 512, kMost = 8192;
  constexpr int64_t kMultiplications = int64_t{1} << 42;
  return std::clamp(kMultiplications / config.ActiveParameters(), kFewest, kMost);
}

RouterDrift::RouterDrift(Trainer& trainer, std::vector<TrainingBatch> batches)
    : batches_(std::move(batches)), before_(Choices(trainer)) {}

std::vector<std::vector<int32_t>> RouterDrift::Choices(Trainer& trainer) const {
  const auto& config = trainer.model().config;
  if (config.router.dense()) return {};
  std::vector<std::vector<int32_t>> choices(static_cast<size_t>(config.num_layers));
  const RoutingObserver observer = [&](int64_t layer, const Routing& routing) {
    auto& chosen = choices[static_cast<size_t>(layer)];
    for (int64_t t = 0; t < routing.experts.rows; ++t) {
      const auto row = routing.experts.row_span(t);
      chosen.insert(chosen.end(), row.begin(), row.end());
      std::sort(chosen.end() - std::ssize(row), chosen.end());
    }
  };
  for (const auto& batch : batches_) trainer.ObserveRouting(batch, observer);
  return choices;
}

std::vector<RouterDrift::Layer> RouterDrift::Measure(Trainer& trainer) const {
  const auto k = static_cast<size_t>(trainer.model().config.router.top_k);
  const auto after = Choices(trainer);
  std::vector<Layer> layers;
  for (size_t l = 0; l < after.size() && !after[l].empty(); ++l) {
    const auto& old = before_[l];
    size_t changed = 0, others = 0;
    for (size_t row = 0; row < after[l].size(); row += k) {
      const std::span<const int32_t> was(&old[row], k);
      size_t here = 0;
      for (size_t c = 0; c < k; ++c)
        here += std::find(was.begin(), was.end(), after[l][row + c]) == was.end();
      others += here;
      changed += here > 0;
    }
    const auto choices = static_cast<double>(after[l].size());
    layers.push_back(
        {static_cast<double>(changed * k) / choices, static_cast<double>(others) / choices});
  }
  return layers;
}

OrderedJson RouterDrift::Figures(Trainer& trainer) const {
  const auto layers = Measure(trainer);
  if (layers.empty()) return nullptr;
  double changed = 0, others = 0;
  OrderedJson each = OrderedJson::array();
  for (const auto& layer : layers) {
    changed += layer.changed;
    others += layer.other_choices;
    each.push_back(layer.changed);
  }
  const auto n = static_cast<double>(layers.size());
  return {{"changed", changed / n}, {"other_choices", others / n}, {"layers", std::move(each)}};
}

void RouterDrift::Report(Trainer& trainer, const std::string& path) const {
  const auto layers = Measure(trainer);
  if (layers.empty()) return;
  const auto& router = trainer.model().config.router;
  OrderedJson report;
  report["step"] = trainer.step();
  report["tokens"] = before_[0].size() / static_cast<size_t>(router.top_k);
  report["experts_per_token"] = router.top_k;
  double changed = 0;
  for (const auto& layer : layers) {
    report["layers"].push_back(
        {{"changed", layer.changed}, {"other_choices", layer.other_choices}});
    changed += layer.changed;
  }
  WriteFileAtomically(path, report.dump(1) + "\n");
  log::info("{:.1f} % of tokens choose other experts than before, mean over layers; {}",
            100 * changed / static_cast<double>(layers.size()), path);
}

}  // namespace cadre
