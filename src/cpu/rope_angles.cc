#include "cpu/rope_angles.h"

#include <algorithm>
#include <cmath>

namespace cadre {

void RopeAngles::Update(std::span<const int64_t> positions, std::span<const double> inv_freq,
                        ThreadPool& threads) {
  if (std::ranges::equal(positions, positions_) && std::ranges::equal(inv_freq, inv_freq_)) return;
  positions_.assign(positions.begin(), positions.end());
  inv_freq_.assign(inv_freq.begin(), inv_freq.end());
  const auto num_rows = static_cast<int64_t>(positions.size());
  table_.Reserve(num_rows * 2 * num_pairs());
  threads.ParallelFor(num_rows, [&](int64_t t, int) {
    float* row = table_.data() + 2 * t * num_pairs();
    for (int64_t i = 0; i < num_pairs(); ++i) {
      const double angle = static_cast<double>(positions_[static_cast<size_t>(t)]) *
                           inv_freq_[static_cast<size_t>(i)];
      row[i] = static_cast<float>(std::cos(angle));
      row[num_pairs() + i] = static_cast<float>(std::sin(angle));
    }
  });
}

}  // namespace cadre
