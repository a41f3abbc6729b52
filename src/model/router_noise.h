// What training adds to a router so that it explores: jitter on its input, noise on its logits,
// lots for second choices. All are pure functions of seed, stream (step and layer) and element, so
// a resumed run draws the same, on any number of threads. Never used to run a model. Source:
// jitter: Switch, arXiv 2101.03961 section 2.4 and Mesh-TensorFlow (the router's input, not its
// logits, and not what the experts read); noise: arXiv 1701.06538 section 2.1; lots: GShard, arXiv
// 2006.16668 algorithm 1.
#pragma once

#include <cmath>
#include <cstdint>
#include <span>

#include "base/thread_pool.h"
#include "tensor/mat.h"

namespace cadre {

// out = x times U(1 - epsilon, 1 + epsilon), elementwise. x, out: [T, d]; out may be x. The same
// call on the gradient of `out` gives that of x.
void Jitter(Mat<const float> x, float epsilon, uint64_t seed, uint64_t stream, ThreadPool& threads,
            Mat<float> out);

// The noise's deviation: log(1 + exp(raw)) + floor. A floor keeps the load loss, which divides by
// it, finite (as in tensor2tensor; the paper has none).
inline double NoiseDeviation(float raw, float floor) {
  const auto x = static_cast<double>(raw);
  return (x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x))) +
         static_cast<double>(floor);
}

// logits += draws * NoiseDeviation(raw), with `draws` standard normal and kept for backward. All
// [T, E].
void AddRouterNoise(Mat<const float> raw, float floor, uint64_t seed, uint64_t stream,
                    Mat<float> draws, Mat<float> logits);

// lots[t] = U(0, 1).
void DrawLots(uint64_t seed, uint64_t stream, std::span<float> lots);

// Whether a token's second choice runs: with a chance of twice its share of the two gates, so that
// one as good as the first always does. gates: those of its two choices. One that does not run
// leaves the first its gate, and its own logit the gradient that this gate passes on.
inline bool SecondWins(std::span<const float> gates, float lot) {
  return 2 * gates[1] > lot * (gates[0] + gates[1]);
}

}  // namespace cadre
