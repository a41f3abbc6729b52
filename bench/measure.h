// A kernel and what the machine can do at most, measured in turns: what disturbs one disturbs the
// other, and their ratio stays.
#pragma once

#include <functional>

#include "bench/kernel_case.h"

namespace cadre::bench {

struct Spread {
  double median = 0, low = 0, high = 0;  // low and high: quartiles
};

struct Measured {
  LimitKind limit;    // that the kernel meets first
  double figure = 0;  // operations or bytes per second, as `limit` is measured; median of the turns
  double limit_figure = 0;  // the same of the limit
  Spread share;             // of the ratios of both, turn by turn
};

// Of the machine's limits, on the calling thread; made when they are first asked for.
using Meters = std::function<LimitMeter&(LimitKind)>;

// For about `seconds`, half of them the kernel's; a turn of each at least.
Measured Measure(const Work& work, const Meters& meters, double seconds);

}  // namespace cadre::bench
