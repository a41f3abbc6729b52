// The gradient of attention: one unit of work per sequence and key/value head, so that every sum
// has one owner. Probabilities are computed anew from q, k and the forward's lse, a block of
// queries against a block of keys at a time (Dao et al., arXiv 2205.14135). Refuses rows that are
// not whole sequences, see ops/backward.h.
#pragma once

#include <cstdint>

#include "base/thread_pool.h"
#include "cpu/attention_tiles.h"

namespace cadre {

// The arguments of BackwardOps::AttentionBackward.
struct AttentionGradient {
  Mat<const float> q;     // [T, H * D]
  Mat<const float> k, v;  // [T, K * D]
  int64_t num_heads = 0;
  int64_t window = 0;
  KvBatch batch;
  Mat<const float> out;    // [T, H * D]
  Mat<const float> lse;    // [T, H]
  Mat<const float> d_out;  // [T, H * D]
  Mat<float> d_q;          // [T, H * D]
  Mat<float> d_k, d_v;     // [T, K * D]
};

// Keeps the scratch between calls.
class AttentionGradientRunner {
 public:
  AttentionGradientRunner(const BackwardKernels& kernels, ThreadPool& threads)
      : kernels_(kernels), threads_(threads) {}

  void Run(const AttentionGradient& gradient);

 private:
  const BackwardKernels& kernels_;
  ThreadPool& threads_;
  Buffer<float> scratch_;
};

}  // namespace cadre
