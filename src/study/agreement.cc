#include "study/agreement.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"

namespace cadre {
namespace {

struct TokenChoices {
  std::span<const uint16_t> experts;
  std::span<const float> gates;

  double GateOf(uint16_t expert) const {
    const auto found = std::find(experts.begin(), experts.end(), expert);
    return found == experts.end()
               ? 0
               : static_cast<double>(gates[static_cast<size_t>(found - experts.begin())]);
  }
  bool Has(uint16_t expert) const {
    return std::find(experts.begin(), experts.end(), expert) != experts.end();
  }
};

TokenChoices ChoicesOf(const RoutingTrace& trace, int64_t l, int64_t t) {
  const RoutingTrace::Layer& layer = trace.layers[static_cast<size_t>(l)];
  return {.experts = trace.Choices(layer, t),
          .gates =
              std::span(layer.gates)
                  .subspan(static_cast<size_t>(t * trace.top_k), static_cast<size_t>(trace.top_k))};
}

double NumShared(const TokenChoices& a, const TokenChoices& b) {
  return static_cast<double>(std::count_if(a.experts.begin(), a.experts.end(),
                                           [&](uint16_t expert) { return b.Has(expert); }));
}

double GateDistance(const TokenChoices& a, const TokenChoices& b) {
  double sum = 0;
  for (const uint16_t expert : a.experts) sum += std::abs(a.GateOf(expert) - b.GateOf(expert));
  for (const uint16_t expert : b.experts) sum += a.Has(expert) ? 0 : b.GateOf(expert);
  return sum / 2;
}

}  // namespace

AgreementSums CompareRouting(const RoutingTrace& trace, const RoutingTrace& other, int64_t layer,
                             int64_t document) {
  AgreementSums sums;
  const auto& where = trace.documents[static_cast<size_t>(document)];
  for (int64_t t = where.begin; t < where.end; ++t) {
    const TokenChoices a = ChoicesOf(trace, layer, t), b = ChoicesOf(other, layer, t);
    const double shared = NumShared(a, b);
    const auto size_a = static_cast<double>(a.experts.size());
    const auto size_b = static_cast<double>(b.experts.size());
    sums.tokens += 1;
    sums.same_set += shared == size_a && shared == size_b ? 1 : 0;
    sums.same_first += a.experts.front() == b.experts.front() ? 1 : 0;
    sums.shared += shared / size_a;
    sums.jaccard += shared / (size_a + size_b - shared);
    sums.gate_distance += GateDistance(a, b);
  }
  return sums;
}

MarginAgreement AgreementByMargin(const RoutingTrace& trace, const RoutingTrace& other, int64_t l) {
  constexpr int64_t kTenths = 10;
  const auto& margins = trace.layers[static_cast<size_t>(l)].margin;
  std::vector<int64_t> order(margins.size());
  std::iota(order.begin(), order.end(), int64_t{0});
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return margins[static_cast<size_t>(a)] < margins[static_cast<size_t>(b)];
  });
  MarginAgreement agreement;
  for (int64_t tenth = 0; tenth < kTenths; ++tenth) {
    const int64_t begin = std::ssize(order) * tenth / kTenths;
    const int64_t end = std::ssize(order) * (tenth + 1) / kTenths;
    double margin = 0, same = 0;
    for (int64_t i = begin; i < end; ++i) {
      const int64_t t = order[static_cast<size_t>(i)];
      const TokenChoices a = ChoicesOf(trace, l, t), b = ChoicesOf(other, l, t);
      margin += static_cast<double>(margins[static_cast<size_t>(t)]);
      const double shared = NumShared(a, b);
      same +=
          shared == static_cast<double>(a.experts.size()) && a.experts.size() == b.experts.size()
              ? 1
              : 0;
    }
    const auto count = static_cast<double>(std::max<int64_t>(1, end - begin));
    agreement.margin.push_back(margin / count);
    agreement.same_set.push_back(same / count);
  }
  return agreement;
}

void CheckComparable(const RoutingTrace& trace, const RoutingTrace& other,
                     const std::string& other_name) {
  if (trace.num_layers() != other.num_layers() || trace.num_experts != other.num_experts) {
    throw Error("{}: has {} layers of {} experts but must have {} of {} to be compared", other_name,
                other.num_layers(), other.num_experts, trace.num_layers(), trace.num_experts);
  }
}

}  // namespace cadre
