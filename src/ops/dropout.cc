#include "ops/dropout.h"

#include <cmath>

#include "base/random.h"

namespace cadre {

void Dropout(Mat<float> x, float rate, uint64_t seed, uint64_t stream, ThreadPool& threads) {
  CADRE_CHECK(rate >= 0 && rate < 1);
  if (rate == 0 || x.empty()) return;
  const auto threshold = static_cast<uint32_t>(std::lround(static_cast<double>(rate) * 0x1p31))
                         << 1;
  const float scale = 1 / (1 - rate);
  threads.ParallelFor(x.rows, [&](int64_t r, int) {
    float* row = x.row(r);
    for (int64_t c = 0; c < x.cols; c += 4) {
      const auto words =
          Philox(seed, stream, static_cast<uint64_t>(r * ((x.cols + 3) / 4) + c / 4));
      for (int64_t i = c; i < std::min(c + 4, x.cols); ++i) {
        row[i] = words[static_cast<size_t>(i - c)] < threshold ? 0 : row[i] * scale;
      }
    }
  });
}

}  // namespace cadre
