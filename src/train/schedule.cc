#include "train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace cadre {
namespace {

// From 1 to 0 over the decay; `done`: its share that is over.
double Remaining(DecayShape shape, double done) {
  switch (shape) {
    case DecayShape::kLinear:
      return 1 - done;
    case DecayShape::kOneMinusSqrt:
      return 1 - std::sqrt(done);
    case DecayShape::kCosine:
      break;
  }
  return 0.5 * (1 + std::cos(std::numbers::pi * done));
}

}  // namespace

double Schedule::LearningRate(int64_t step) const {
  if (step <= warmup_steps)
    return peak * static_cast<double>(step) / static_cast<double>(warmup_steps);
  const bool is_wsd = kind == ScheduleKind::kWsd;
  const int64_t begin = is_wsd ? stable_until() : warmup_steps;
  if (step <= begin) return peak;
  const auto rest = static_cast<double>(std::max<int64_t>(1, steps - begin));
  const double done = std::min(1.0, static_cast<double>(step - begin) / rest);
  const double remaining = Remaining(is_wsd ? decay : DecayShape::kCosine, done);
  return peak * (final_share + (1 - final_share) * remaining);
}

}  // namespace cadre
