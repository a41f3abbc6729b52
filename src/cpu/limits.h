// What this machine can do at most, measured when asked: the yardsticks of `cadre bench`.
#pragma once

#include <cstddef>

#include "base/thread_pool.h"
#include "cpu/isa.h"

namespace cadre {

struct Limits {
  double integer_gops = 0;            // 8-bit vector products and sums, all threads together
  double matrix_gops = 0;             // the same of a matrix unit; 0: there is none
  double bf16_gflops = 0;             // 0: the instruction set has no such products
  double stream_gigabytes_per_s = 0;  // reading memory that no cache holds
};

// Takes a quarter of a second for each. The memory read is as large as the last-level cache a few
// times over.
Limits MeasureLimits(Isa isa, ThreadPool& threads);

// Reading alone, for classing a moment by it.
double StreamGigabytesPerS(Isa isa, ThreadPool& threads);

}  // namespace cadre
