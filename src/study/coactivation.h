// Which experts a token uses together: all pairs of its choices, not only neighbours in rank.
#pragma once

#include <cstdint>
#include <vector>

#include "study/trace.h"

namespace cadre {

struct Coactivation {
  std::vector<int64_t> pairs;  // [E, E] tokens that use both; symmetric, 0 on the diagonal
  std::vector<double> lift;    // over what independent ranks give; 0 where that is 0
};

// Expected of ranks r < s that are drawn independently by their own shares, but never alike: the
// sum over rank pairs of p_r(i) p_s(j) + p_r(j) p_s(i), each divided by the chance that they
// differ.
Coactivation CoactivationOf(const RoutingTrace& trace, const RoutingTrace::Layer& layer);

}  // namespace cadre
