// The cosines and sines of a step's rotations, kept until positions or frequencies change: every
// layer of a step rotates by the same angles, twice.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "tensor/buffer.h"

namespace cadre {

class RopeAngles {
 public:
  // Makes row(t) hold the angles positions[t] * inv_freq[i], worked out in double. Allocates when
  // the step is the largest yet.
  void Update(std::span<const int64_t> positions, std::span<const double> inv_freq,
              ThreadPool& threads);

  // [inv_freq.size()] each.
  const float* cosines(int64_t t) const { return table_.data() + 2 * t * num_pairs(); }
  const float* sines(int64_t t) const { return cosines(t) + num_pairs(); }

 private:
  int64_t num_pairs() const { return static_cast<int64_t>(inv_freq_.size()); }

  std::vector<int64_t> positions_;
  std::vector<double> inv_freq_;
  Buffer<float> table_;
};

}  // namespace cadre
