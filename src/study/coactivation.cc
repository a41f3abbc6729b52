#include "study/coactivation.h"

namespace cadre {
namespace {

// [k, E] shares of each rank.
std::vector<double> RankShares(const RoutingTrace& trace, const RoutingTrace::Layer& layer) {
  std::vector<double> shares(static_cast<size_t>(trace.top_k * trace.num_experts));
  const double one = 1 / static_cast<double>(trace.num_tokens());
  for (int64_t t = 0; t < trace.num_tokens(); ++t) {
    const auto choices = trace.Choices(layer, t);
    for (size_t r = 0; r < choices.size(); ++r)
      shares[r * static_cast<size_t>(trace.num_experts) + choices[r]] += one;
  }
  return shares;
}

// [E, E] share of the tokens that would use both.
std::vector<double> ExpectedShares(const RoutingTrace& trace, const std::vector<double>& shares) {
  const auto num_experts = static_cast<size_t>(trace.num_experts);
  std::vector<double> expected(num_experts * num_experts);
  for (size_t r = 0; r < static_cast<size_t>(trace.top_k); ++r) {
    for (size_t s = r + 1; s < static_cast<size_t>(trace.top_k); ++s) {
      const double* p = shares.data() + r * num_experts;
      const double* q = shares.data() + s * num_experts;
      double alike = 0;
      for (size_t e = 0; e < num_experts; ++e) alike += p[e] * q[e];
      if (alike >= 1) continue;
      for (size_t i = 0; i < num_experts; ++i) {
        for (size_t j = 0; j < num_experts; ++j) {
          if (i != j) expected[i * num_experts + j] += (p[i] * q[j] + p[j] * q[i]) / (1 - alike);
        }
      }
    }
  }
  return expected;
}

}  // namespace

Coactivation CoactivationOf(const RoutingTrace& trace, const RoutingTrace::Layer& layer) {
  const auto num_experts = static_cast<size_t>(trace.num_experts);
  Coactivation found;
  found.pairs.resize(num_experts * num_experts);
  for (int64_t t = 0; t < trace.num_tokens(); ++t) {
    const auto choices = trace.Choices(layer, t);
    for (const uint16_t a : choices) {
      for (const uint16_t b : choices) {
        if (a != b) ++found.pairs[a * num_experts + b];
      }
    }
  }
  const auto expected = ExpectedShares(trace, RankShares(trace, layer));
  for (size_t i = 0; i < found.pairs.size(); ++i) {
    const double tokens = expected[i] * static_cast<double>(trace.num_tokens());
    found.lift.push_back(tokens > 0 ? static_cast<double>(found.pairs[i]) / tokens : 0);
  }
  return found;
}

}  // namespace cadre
