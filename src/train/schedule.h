// The learning rate over a run: linear warm-up, then a cosine down to a share of the peak.
// Source: Loshchilov and Hutter, arXiv 1608.03983, one period.
#pragma once

#include <cstdint>

namespace cadre {

struct Schedule {
  double peak = 1e-3;
  double final_share = 0.1;  // of the peak, at the last step
  int64_t warmup_steps = 0;
  int64_t steps = 1;

  // For step in [1, steps].
  double LearningRate(int64_t step) const;
};

}  // namespace cadre
