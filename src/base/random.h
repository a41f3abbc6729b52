// Counter-based random numbers (Philox4x32-10, Salmon et al., "Parallel Random Numbers: As Easy as
// 1, 2, 3", SC 2011): a value is a pure function of seed, stream and counter, so draws do not
// depend on threads and a state is two integers to save.
#pragma once

#include <array>
#include <cstdint>

namespace cadre {

// Four independent uniform words for (seed, stream, counter).
std::array<uint32_t, 4> Philox(uint64_t seed, uint64_t stream, uint64_t counter);

// A sequence of draws from one stream.
class Random {
 public:
  explicit Random(uint64_t seed, uint64_t stream = 0, uint64_t counter = 0)
      : seed_(seed), stream_(stream), counter_(counter) {}

  // The number of draws so far; Random(seed, stream, counter) goes on from there.
  uint64_t counter() const { return counter_; }

  uint64_t NextU64();
  // Uniform in [0, 1), 53 bits.
  double NextDouble();
  // Uniform in [0, bound), bound >= 1, without bias.
  uint64_t NextBelow(uint64_t bound);
  // Standard normal (Box-Muller; one draw each).
  double NextNormal();

 private:
  uint64_t seed_;
  uint64_t stream_;
  uint64_t counter_;
};

}  // namespace cadre
