// How choices spread over experts, and what follows from that for tokens that know nothing of each
// other. Pure functions of counts. Shares c_e = n_e / sum n; even: 1/E.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace cadre {

struct LoadFigures {
  std::vector<double> shares;     // [E]
  double entropy_nats = 0;        // -sum c ln c
  double normalised_entropy = 0;  // by ln E; hardly moves: 0.98 may be 1.6 times the mean
  double max_over_mean = 0;       // E max c
  double min_over_mean = 0;
  double cv_squared = 0;   // mean((c - 1/E)^2) E^2, variance of the population
  double sum_squares = 0;  // sum c^2: two independent draws are equal
};

// counts: [E], at least one above 0.
LoadFigures FiguresOf(std::span<const int64_t> counts);

// k distinct experts of E chosen evenly, twice: P(at least one in common).
double EvenShared(int64_t num_experts, int64_t top_k);

// Mean |S and S'| / k of independent tokens whose choices have these shares: k sum c^2. It is what
// a cache of k experts that holds the last token's hits at least.
double IndependentOverlap(std::span<const double> shares, int64_t top_k);

// The share of choices that the `slots` most used experts serve.
double StaticHitRate(std::span<const double> shares, int64_t slots);

}  // namespace cadre
