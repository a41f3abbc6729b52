#include "model/router_noise.h"

#include <algorithm>

#include "base/random.h"

namespace cadre {

void Jitter(Mat<const float> x, float epsilon, uint64_t seed, uint64_t stream, ThreadPool& threads,
            Mat<float> out) {
  CADRE_CHECK(x.rows == out.rows && x.cols == out.cols && epsilon >= 0 && epsilon < 1);
  const int64_t blocks = (x.cols + 3) / 4;
  threads.ParallelFor(x.rows, [&](int64_t r, int) {
    const float* from = x.row(r);
    float* to = out.row(r);
    for (int64_t c = 0; c < x.cols; c += 4) {
      const auto words = Philox(seed, stream, static_cast<uint64_t>(r * blocks + c / 4));
      for (int64_t i = c; i < std::min(c + 4, x.cols); ++i) {
        // 24 bits: uniform in [-1, 1), exact in a float.
        const float u = static_cast<float>(words[static_cast<size_t>(i - c)] >> 8) * 0x1p-23f - 1;
        to[i] = from[i] * (1 + epsilon * u);
      }
    }
  });
}

void AddRouterNoise(Mat<const float> raw, float floor, uint64_t seed, uint64_t stream,
                    Mat<float> draws, Mat<float> logits) {
  CADRE_CHECK(raw.rows == logits.rows && raw.cols == logits.cols && draws.rows == raw.rows);
  for (int64_t t = 0; t < raw.rows; ++t) {
    for (int64_t e = 0; e < raw.cols; ++e) {
      Random random(seed, stream, static_cast<uint64_t>(t * raw.cols + e));
      const double draw = random.NextNormal();
      draws.row(t)[e] = static_cast<float>(draw);
      logits.row(t)[e] += static_cast<float>(draw * NoiseDeviation(raw.row(t)[e], floor));
    }
  }
}

void DrawLots(uint64_t seed, uint64_t stream, std::span<float> lots) {
  for (size_t t = 0; t < lots.size(); ++t)
    lots[t] = static_cast<float>(Philox(seed, stream, t)[0] >> 8) * 0x1p-24f;  // 24 bits: exact
}

}  // namespace cadre
