#include "store/miss_policy.h"

#include <algorithm>

namespace cadre {
namespace {

bool Contains(std::span<const int32_t> picks, int32_t expert) {
  return std::find(picks.begin(), picks.end(), expert) != picks.end();
}

bool IsIn(const std::vector<bool>& set, int32_t expert) {
  return expert >= 0 && set[static_cast<size_t>(expert)];
}

// The likeliest that is present and not among the picks; ties to the lower; -1: none.
int32_t NextBest(std::span<const float> probs, const std::vector<bool>& present,
                 std::span<const int32_t> picks) {
  int32_t best = -1;
  for (int32_t e = 0; e < std::ssize(probs); ++e) {
    if (!IsIn(present, e) || Contains(picks, e)) continue;
    if (best < 0 || probs[static_cast<size_t>(e)] > probs[static_cast<size_t>(best)]) best = e;
  }
  return best;
}

bool FindsEnough(const std::vector<bool>& present, const std::vector<bool>& given_up,
                 std::span<const int32_t> picks) {
  int64_t found = 0;
  for (int32_t e = 0; e < std::ssize(present); ++e)
    found += IsIn(present, e) && !Contains(picks, e) ? 1 : 0;
  return found >= std::count_if(picks.begin(), picks.end(),
                                [&](int32_t pick) { return IsIn(given_up, pick); });
}

}  // namespace

int64_t FindDemand(const Routing& routing, std::span<Demand> demand) {
  std::fill(demand.begin(), demand.end(), Demand{});
  int64_t choices = 0;
  for (int64_t t = 0; t < routing.experts.rows; ++t) {
    for (int64_t c = 0; c < routing.experts.cols; ++c) {
      const int32_t expert = routing.experts.row(t)[c];
      if (expert < 0) continue;
      Demand& of = demand[static_cast<size_t>(expert)];
      ++of.rows;
      of.gate = std::max(of.gate, routing.gates.row(t)[c]);
      ++choices;
    }
  }
  return choices;
}

bool GoesWithout(const MissPolicy& policy, const Demand& demand, double read_s) {
  if (policy.on_miss == OnMiss::kWait || demand.rows == 0) return false;
  return demand.gate <= policy.most_gate &&
         read_s > policy.most_wait_s * static_cast<double>(demand.rows);
}

void ChooseNextBest(const RouterConfig& config, const std::vector<bool>& present,
                    std::vector<bool>& given_up, Routing& routing) {
  for (int64_t t = 0; t < routing.experts.rows; ++t) {
    const auto picks = routing.experts.row_span(t);
    if (FindsEnough(present, given_up, picks)) continue;
    for (const int32_t pick : picks)
      if (pick >= 0) given_up[static_cast<size_t>(pick)] = false;
  }
  for (int64_t t = 0; t < routing.experts.rows; ++t) {
    const auto picks = routing.experts.row_span(t);
    const auto probs = routing.probs.row_span(t);
    bool has_changed = false;
    for (int32_t& pick : picks) {
      if (!IsIn(given_up, pick)) continue;
      pick = NextBest(probs, present, picks);
      has_changed = true;
    }
    if (!has_changed) continue;
    const auto used =
        static_cast<size_t>(std::find(picks.begin(), picks.end(), -1) - picks.begin());
    SetGates(probs, config.softmax, picks.first(used), routing.gates.row_span(t).first(used));
  }
}

}  // namespace cadre
