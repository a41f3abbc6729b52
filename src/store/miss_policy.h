// What becomes of rows whose expert is not in memory: they wait for the disk, which is exact, or,
// where that costs too much, something stands in for the expert: a copy of it in fewer bits (as
// HOBBIT, arXiv 2411.01433, does for choices of little weight), or the next best expert that is in
// memory. Decided once for an expert and step, for all its rows together. Pure.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/router.h"

namespace cadre {

enum class OnMiss { kWait, kLowBit, kNextBest };

struct MissPolicy {
  OnMiss on_miss = OnMiss::kWait;
  double most_wait_s = 1e-3;  // longer than that for each row is too much
  float most_gate = 0.5f;     // choices of more weight are always waited for
};

// What the rows of a step want of one expert.
struct Demand {
  int64_t rows = 0;
  float gate = 0;  // the largest
};

// demand: [E]. Returns the number of choices.
int64_t FindDemand(const Routing& routing, std::span<Demand> demand);

// Whether the rows go without the expert, whose reading takes read_s.
bool GoesWithout(const MissPolicy& policy, const Demand& demand, double read_s);

// Gives the choices of experts that are given up to those that are `present` and that the row has
// not chosen, the likeliest by its router first, and sets the gates as if the router had chosen so.
// Where a row finds too few, the experts that it wants are given up no more. Both [E].
void ChooseNextBest(const RouterConfig& config, const std::vector<bool>& present,
                    std::vector<bool>& given_up, Routing& routing);

}  // namespace cadre
