// The learning rate over a run: a linear warm-up, then a cosine down to a share of the peak, or a
// stable phase at the peak with a decay at the end. Sources: cosine: Loshchilov and Hutter, arXiv
// 1608.03983, one period; warm-up, stable, decay (WSD): MiniCPM, arXiv 2404.06395; its decay as 1 -
// sqrt: Haegele et al., arXiv 2405.18392.
#pragma once

#include <cstdint>

namespace cadre {

enum class ScheduleKind { kCosine, kWsd };
enum class DecayShape { kLinear, kCosine, kOneMinusSqrt };

struct Schedule {
  double peak = 1e-3;
  double final_share = 0.1;  // of the peak, at the last step
  int64_t warmup_steps = 0;
  int64_t steps = 1;
  ScheduleKind kind = ScheduleKind::kCosine;
  int64_t decay_steps = 0;  // of kWsd: the last ones; warm-up and decay are at most all steps
  DecayShape decay = DecayShape::kOneMinusSqrt;

  // For step in [1, steps].
  double LearningRate(int64_t step) const;

  // The last step at the peak. Of kWsd; a run that has gone no further can go on with another
  // number of steps as if it had been begun with that.
  int64_t stable_until() const { return steps - decay_steps; }
};

}  // namespace cadre
