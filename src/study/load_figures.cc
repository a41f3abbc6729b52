#include "study/load_figures.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"

namespace cadre {

LoadFigures FiguresOf(std::span<const int64_t> counts) {
  const auto total = static_cast<double>(std::accumulate(counts.begin(), counts.end(), int64_t{0}));
  CADRE_CHECK(total > 0);
  const auto num_experts = static_cast<double>(counts.size());
  LoadFigures figures;
  for (const int64_t count : counts) {
    const double share = static_cast<double>(count) / total;
    figures.shares.push_back(share);
    if (share > 0) figures.entropy_nats -= share * std::log(share);
    figures.sum_squares += share * share;
    figures.cv_squared += (share - 1 / num_experts) * (share - 1 / num_experts) * num_experts;
  }
  const auto [low, high] = std::minmax_element(figures.shares.begin(), figures.shares.end());
  figures.max_over_mean = *high * num_experts;
  figures.min_over_mean = *low * num_experts;
  figures.normalised_entropy =
      counts.size() > 1 ? figures.entropy_nats / std::log(num_experts) : 1.0;
  return figures;
}

double EvenShared(int64_t num_experts, int64_t top_k) {
  double none = 1;  // C(E - k, k) / C(E, k)
  for (int64_t i = 0; i < top_k; ++i) {
    none *= static_cast<double>(std::max<int64_t>(0, num_experts - top_k - i)) /
            static_cast<double>(num_experts - i);
  }
  return 1 - none;
}

double IndependentOverlap(std::span<const double> shares, int64_t top_k) {
  double squares = 0;
  for (const double share : shares) squares += share * share;
  return static_cast<double>(top_k) * squares;
}

double StaticHitRate(std::span<const double> shares, int64_t slots) {
  std::vector<double> sorted(shares.begin(), shares.end());
  std::sort(sorted.begin(), sorted.end(), std::greater<>());
  const auto end = sorted.begin() + std::min(slots, std::ssize(sorted));
  return std::accumulate(sorted.begin(), end, 0.0);
}

}  // namespace cadre
