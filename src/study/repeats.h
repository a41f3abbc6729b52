// Whether neighbouring tokens share experts more than their loads explain. A pair: two tokens of
// one window, n apart. Mixtral, arXiv 2401.04088 section 5, prints the first two figures at lag 1;
// its baseline is that of even loads, which is too low where loads are not.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "study/bootstrap.h"
#include "study/trace.h"

namespace cadre {

// Sums over pairs.
struct RepeatCounts {
  int64_t pairs = 0;
  int64_t same_first = 0;  // the first choices are equal
  int64_t any_shared = 0;  // at least one expert in common, of any ranks ("first or second")
  int64_t shared = 0;      // experts in common

  double first() const { return Share(same_first); }
  double any() const { return Share(any_shared); }
  // Mean of the experts in common over k: the hits of a cache that holds the last token's.
  double overlap(int64_t top_k) const { return Share(shared) / static_cast<double>(top_k); }

 private:
  double Share(int64_t count) const {
    return pairs > 0 ? static_cast<double>(count) / static_cast<double>(pairs) : 0;
  }
};

// Of a document's windows.
RepeatCounts CountRepeats(const RoutingTrace& trace, const RoutingTrace::Layer& layer,
                          const RoutingTrace::Document& document, int64_t lag);

// P(at least one expert in common) of two independent draws from these sets; sets: [n, k]. Exact
// while no more than 4096 sets differ, else from pairs that are drawn.
double IndependentAny(std::span<const uint16_t> sets, int64_t top_k);

// What chance gives, by how much of the text it keeps.
struct RepeatBaseline {
  double first = 0;
  double any = 0;
};

struct DomainRepeats {
  static constexpr std::array<int64_t, 6> kLags = {1, 2, 4, 8, 16, 32};
  static constexpr int64_t kShuffles = 100;

  std::array<RepeatCounts, kLags.size()> by_lag;
  std::vector<double> pairs_by_document, first_by_document, any_by_document;  // at lag 1
  RepeatBaseline even;         // every expert as likely as the next
  RepeatBaseline marginal;     // the domain's own loads and sets of experts, tokens independent
  RepeatBaseline in_document;  // the tokens of each document in random order: keeps its loads
  RepeatBaseline in_document_spread;  // standard deviation over the shuffles
  // Mean length of maximal runs of tokens that use an expert; 1 / (1 - p) if they were independent.
  std::vector<double> run_length, independent_run_length;  // [E]
};

DomainRepeats RepeatsOf(const RoutingTrace& trace, int64_t layer, int64_t domain, uint64_t seed);

}  // namespace cadre
