#include "study/bootstrap.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "study/shuffle.h"

namespace cadre {

Interval MiddleOf(std::vector<double> values, double share) {
  CADRE_CHECK(!values.empty());
  std::sort(values.begin(), values.end());
  const double last = static_cast<double>(values.size()) - 1;
  const auto at = [&](double quantile) {
    return values[static_cast<size_t>(std::lround(quantile * last))];
  };
  return {at((1 - share) / 2), at((1 + share) / 2)};
}

NullLevel LevelOf(std::vector<double> values) {
  CADRE_CHECK(!values.empty());
  NullLevel level;
  for (const double value : values) level.mean += value / static_cast<double>(values.size());
  std::sort(values.begin(), values.end());
  level.high =
      values[static_cast<size_t>(std::ceil(0.95 * static_cast<double>(values.size()))) - 1];
  return level;
}

DocumentBootstrap::DocumentBootstrap(int64_t num_documents, uint64_t seed, int64_t domain)
    : num_documents_(num_documents), times_(static_cast<size_t>(kResamples * num_documents)) {
  Random draws = DrawsFor(seed, DrawFor::kBootstrap, domain);
  for (int64_t r = 0; r < kResamples; ++r) {
    for (int64_t i = 0; i < num_documents; ++i) {
      const auto drawn =
          static_cast<int64_t>(draws.NextBelow(static_cast<uint64_t>(num_documents)));
      ++times_[static_cast<size_t>(r * num_documents + drawn)];
    }
  }
}

std::optional<Interval> DocumentBootstrap::OfRatio(std::span<const double> numerators,
                                                   std::span<const double> denominators) const {
  if (num_documents_ < 2) return std::nullopt;
  std::vector<double> ratios;
  ratios.reserve(kResamples);
  for (int64_t r = 0; r < kResamples; ++r) {
    const uint16_t* times = times_.data() + r * num_documents_;
    double numerator = 0, denominator = 0;
    for (size_t d = 0; d < numerators.size(); ++d) {
      numerator += times[d] * numerators[d];
      denominator += times[d] * denominators[d];
    }
    if (denominator > 0) ratios.push_back(numerator / denominator);
  }
  if (ratios.empty()) return std::nullopt;
  return MiddleOf(std::move(ratios));
}

}  // namespace cadre
