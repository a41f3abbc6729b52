// Python's random.Random, as far as few-shot examples are drawn with it: the Mersenne Twister
// (Matsumoto and Nishimura 1998) seeded by an integer, and random.sample. The draws of
// lm-evaluation-harness can so be repeated.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

namespace cadre {

class PythonRandom {
 public:
  explicit PythonRandom(uint64_t seed);

  // Uniform in [0, bound), bound >= 1.
  uint32_t Below(uint32_t bound);
  // `count` <= `size` different numbers below `size`, in the order of the draws.
  std::vector<uint32_t> Sample(uint32_t size, uint32_t count);

 private:
  std::mt19937 words_;
};

}  // namespace cadre
