#include "study/repeats.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "study/expert_counts.h"
#include "study/load_figures.h"
#include "study/shuffle.h"

namespace cadre {
namespace {

int64_t NumShared(std::span<const uint16_t> a, std::span<const uint16_t> b) {
  return std::count_if(a.begin(), a.end(), [&](uint16_t expert) {
    return std::find(b.begin(), b.end(), expert) != b.end();
  });
}

void AddPair(std::span<const uint16_t> a, std::span<const uint16_t> b, RepeatCounts& counts) {
  const int64_t shared = NumShared(a, b);
  ++counts.pairs;
  counts.same_first += a.front() == b.front() ? 1 : 0;
  counts.any_shared += shared > 0 ? 1 : 0;
  counts.shared += shared;
}

RepeatCounts Sum(RepeatCounts a, const RepeatCounts& b) {
  a.pairs += b.pairs;
  a.same_first += b.same_first;
  a.any_shared += b.any_shared;
  a.shared += b.shared;
  return a;
}

// The neighbours of a document whose tokens stand in another order.
RepeatCounts CountShuffled(const RoutingTrace& trace, const RoutingTrace::Layer& layer,
                           const RoutingTrace::Document& document, std::span<const int64_t> order) {
  RepeatCounts counts;
  for (const auto& window : trace.WindowsOf(document)) {
    for (int64_t t = window.begin; t + 1 < window.end; ++t) {
      const auto at = [&](int64_t i) {
        return trace.Choices(layer, order[static_cast<size_t>(i - document.begin)]);
      };
      AddPair(at(t), at(t + 1), counts);
    }
  }
  return counts;
}

void MeasureShuffles(const RoutingTrace& trace, const RoutingTrace::Layer& layer,
                     const RoutingTrace::Domain& domain, Random draws, DomainRepeats& repeats) {
  std::vector<std::vector<int64_t>> orders;
  for (const auto& document : trace.DocumentsOf(domain)) {
    orders.emplace_back(static_cast<size_t>(document.tokens()));
    std::iota(orders.back().begin(), orders.back().end(), document.begin);
  }
  double first = 0, first_squares = 0, any = 0, any_squares = 0;
  for (int64_t i = 0; i < DomainRepeats::kShuffles; ++i) {
    RepeatCounts sum;
    for (size_t d = 0; d < orders.size(); ++d) {
      Shuffle(draws, orders[d].data(), std::ssize(orders[d]));
      sum = Sum(sum, CountShuffled(trace, layer, trace.DocumentsOf(domain)[d], orders[d]));
    }
    first += sum.first();
    first_squares += sum.first() * sum.first();
    any += sum.any();
    any_squares += sum.any() * sum.any();
  }
  constexpr double kCount = DomainRepeats::kShuffles;
  const auto spread = [](double sum, double squares) {
    return std::sqrt(std::max(0.0, squares / kCount - sum / kCount * (sum / kCount)));
  };
  repeats.in_document = {.first = first / kCount, .any = any / kCount};
  repeats.in_document_spread = {.first = spread(first, first_squares),
                                .any = spread(any, any_squares)};
}

void MeasureRuns(const RoutingTrace& trace, const RoutingTrace::Layer& layer,
                 const RoutingTrace::Domain& domain, DomainRepeats& repeats) {
  const auto num_experts = static_cast<size_t>(trace.num_experts);
  std::vector<int64_t> uses(num_experts), runs(num_experts);
  for (const auto& document : trace.DocumentsOf(domain)) {
    for (const auto& window : trace.WindowsOf(document)) {
      for (int64_t t = window.begin; t < window.end; ++t) {
        for (const uint16_t expert : trace.Choices(layer, t)) {
          ++uses[expert];
          const bool goes_on =
              t > window.begin && NumShared({&expert, 1}, trace.Choices(layer, t - 1)) > 0;
          runs[expert] += goes_on ? 0 : 1;
        }
      }
    }
  }
  for (size_t e = 0; e < num_experts; ++e) {
    const double p = static_cast<double>(uses[e]) / static_cast<double>(domain.tokens());
    repeats.run_length.push_back(
        runs[e] > 0 ? static_cast<double>(uses[e]) / static_cast<double>(runs[e]) : 0);
    repeats.independent_run_length.push_back(p < 1 ? 1 / (1 - p) : 0);
  }
}

double SumOfSquares(const RoutingTrace& trace, const RoutingTrace::Layer& layer,
                    const RoutingTrace::Domain& domain) {
  std::vector<int64_t> counts(static_cast<size_t>(trace.num_experts));
  for (int64_t t = domain.begin; t < domain.end; ++t) ++counts[trace.Choices(layer, t).front()];
  return FiguresOf(counts).sum_squares;
}

// Among many experts nearly every token has a set of its own, and all pairs of sets are too many.
constexpr int64_t kMostSets = 4096;

// Of drawn pairs of tokens; the error is below 0.001.
double DrawnAny(std::span<const uint16_t> sets, size_t k) {
  constexpr int64_t kPairs = 500'000;
  Random draws = DrawsFor(0, DrawFor::kShuffleInDomain);
  const auto draw = [&] { return sets.subspan(draws.NextBelow(sets.size() / k) * k, k); };
  int64_t any = 0;
  for (int64_t i = 0; i < kPairs; ++i) {
    const auto a = draw();
    any += NumShared(a, draw()) > 0 ? 1 : 0;
  }
  return static_cast<double>(any) / static_cast<double>(kPairs);
}

}  // namespace

RepeatCounts CountRepeats(const RoutingTrace& trace, const RoutingTrace::Layer& layer,
                          const RoutingTrace::Document& document, int64_t lag) {
  RepeatCounts counts;
  for (const auto& window : trace.WindowsOf(document)) {
    for (int64_t t = window.begin; t + lag < window.end; ++t)
      AddPair(trace.Choices(layer, t), trace.Choices(layer, t + lag), counts);
  }
  return counts;
}

double IndependentAny(std::span<const uint16_t> sets, int64_t top_k) {
  const auto k = static_cast<size_t>(top_k);
  const double one = static_cast<double>(top_k) / static_cast<double>(sets.size());
  std::map<std::vector<uint16_t>, double> shares;
  for (size_t begin = 0; begin < sets.size(); begin += k) {
    const auto choices = sets.subspan(begin, k);
    std::vector<uint16_t> set(choices.begin(), choices.end());
    std::sort(set.begin(), set.end());
    shares[std::move(set)] += one;
    if (std::ssize(shares) > kMostSets) return DrawnAny(sets, k);
  }
  double any = 0;
  for (auto a = shares.begin(); a != shares.end(); ++a) {
    any += a->second * a->second;
    for (auto b = std::next(a); b != shares.end(); ++b) {
      if (NumShared(a->first, b->first) > 0) any += 2 * a->second * b->second;
    }
  }
  return any;
}

DomainRepeats RepeatsOf(const RoutingTrace& trace, int64_t l, int64_t domain_number,
                        uint64_t seed) {
  const RoutingTrace::Layer& layer = trace.layers[static_cast<size_t>(l)];
  const RoutingTrace::Domain& domain = trace.domains[static_cast<size_t>(domain_number)];
  DomainRepeats repeats;
  for (const auto& document : trace.DocumentsOf(domain)) {
    for (size_t i = 0; i < DomainRepeats::kLags.size(); ++i) {
      const RepeatCounts counts = CountRepeats(trace, layer, document, DomainRepeats::kLags[i]);
      repeats.by_lag[i] = Sum(repeats.by_lag[i], counts);
      if (i > 0) continue;
      repeats.pairs_by_document.push_back(static_cast<double>(counts.pairs));
      repeats.first_by_document.push_back(static_cast<double>(counts.same_first));
      repeats.any_by_document.push_back(static_cast<double>(counts.any_shared));
    }
  }
  const auto sets = std::span(layer.experts)
                        .subspan(static_cast<size_t>(domain.begin * trace.top_k),
                                 static_cast<size_t>(domain.tokens() * trace.top_k));
  repeats.even = {.first = 1 / static_cast<double>(trace.num_experts),
                  .any = EvenShared(trace.num_experts, trace.top_k)};
  repeats.marginal = {.first = SumOfSquares(trace, layer, domain),
                      .any = IndependentAny(sets, trace.top_k)};
  MeasureShuffles(trace, layer, domain,
                  DrawsFor(seed, DrawFor::kShuffleInDocuments, l, domain_number), repeats);
  MeasureRuns(trace, layer, domain, repeats);
  return repeats;
}

}  // namespace cadre
