#include "model/dispatch.h"

#include <cmath>

#include "model/router_noise.h"

namespace cadre {

void PlanDispatch(const Routing& routing, const RouterConfig& config, DispatchPlan& plan,
                  std::span<const float> lots) {
  const int64_t tokens = routing.experts.rows;
  const int64_t top_k = routing.experts.cols;
  const auto num_experts = static_cast<size_t>(config.num_experts);
  const int64_t capacity =
      config.capacity_factor <= 0
          ? tokens * top_k
          : static_cast<int64_t>(
                std::ceil(config.capacity_factor * static_cast<double>(tokens * config.top_k) /
                          static_cast<double>(num_experts)));
  plan.tokens = tokens;
  plan.top_k = top_k;
  plan.dropped = 0;
  plan.expert_begin.assign(num_experts + 1, 0);
  plan.row_of_choice.assign(static_cast<size_t>(tokens * top_k), -1);

  // First pass: the place of a choice within its expert; row_of_choice holds it until the experts'
  // beginnings are known.
  for (int64_t c = 0; c < top_k; ++c) {
    for (int64_t t = 0; t < tokens; ++t) {
      const int32_t expert = routing.experts.row(t)[c];
      if (expert < 0) continue;
      if (c == 1 && !lots.empty() &&
          !SecondWins(routing.gates.row_span(t), lots[static_cast<size_t>(t)]))
        continue;
      int64_t& count = plan.expert_begin[static_cast<size_t>(expert) + 1];
      if (count == capacity) {
        ++plan.dropped;
        continue;
      }
      plan.row_of_choice[static_cast<size_t>(t * top_k + c)] = static_cast<int32_t>(count++);
    }
  }
  plan.active.clear();
  plan.active.reserve(num_experts);  // at once: how many there are must not show in allocations
  for (size_t e = 0; e < num_experts; ++e) {
    if (plan.expert_begin[e + 1] > 0) plan.active.push_back(static_cast<int32_t>(e));
    plan.expert_begin[e + 1] += plan.expert_begin[e];
  }
  plan.token_of_row.resize(static_cast<size_t>(plan.rows()));
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t c = 0; c < top_k; ++c) {
      int32_t& row = plan.row_of_choice[static_cast<size_t>(t * top_k + c)];
      if (row < 0) continue;
      row +=
          static_cast<int32_t>(plan.expert_begin[static_cast<size_t>(routing.experts.row(t)[c])]);
      plan.token_of_row[static_cast<size_t>(row)] = static_cast<int32_t>(t);
    }
  }
}

}  // namespace cadre
