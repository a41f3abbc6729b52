// The plan that turns "token t chose experts a and b" into one block of rows per expert. Pure.
// Forward gathers by it and combines by it; backward combines and gathers by the same plan.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/router.h"
#include "ops/device.h"

namespace cadre {

// Rows sorted by expert, within an expert by order of choice, then token.
struct DispatchPlan {
  std::vector<int64_t>
      expert_begin;             // [E + 1] expert e has rows [expert_begin[e], expert_begin[e + 1])
  std::vector<int32_t> active;  // experts that have rows, in the order in which they are to run
  std::vector<int32_t> token_of_row;   // [C]
  std::vector<int32_t> row_of_choice;  // [T, k]; -1: unused, dropped or lost by lot
  int64_t tokens = 0;
  int64_t top_k = 0;
  int64_t dropped = 0;  // choices that found their expert full

  int64_t rows() const { return expert_begin.back(); }
  DispatchView view(Mat<const float> gates) const {
    return {token_of_row, {row_of_choice.data(), tokens, top_k}, gates};
  }
};

// Applies capacity: first choices of all tokens claim places before any second choice does, then
// token order decides. lots: [T] of second choices (model/router_noise.h), which, where they lose,
// run nowhere and take no place; empty: all run.
void PlanDispatch(const Routing& routing, const RouterConfig& config, DispatchPlan& plan,
                  std::span<const float> lots = {});

}  // namespace cadre
