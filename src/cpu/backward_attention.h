// The gradient of attention: one unit of work per sequence and key/value head, so that every sum
// has one owner. Probabilities are computed anew from q, k and the forward's lse, a block of
// queries against a page of keys at a time (Dao et al., arXiv 2205.14135). Refuses any cache but
// one of KvType::kF32 that holds exactly the step's rows, see ops/backward.h.
#pragma once

#include <cstdint>
#include <vector>

#include "base/thread_pool.h"
#include "cpu/backward_kernels.h"
#include "ops/kv_view.h"
#include "tensor/buffer.h"
#include "tensor/mat.h"

namespace cadre {

// The arguments of BackwardOps::AttentionBackward.
struct AttentionGradient {
  Mat<const float> q;  // [T, H * D]
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
  // The rows [begin, begin + length) of the step: one sequence from position 0.
  struct SequenceRows {
    int64_t begin = 0;
    int64_t length = 0;
    int64_t sequence = 0;
  };
  void FindSequences(const AttentionGradient& gradient);

  const BackwardKernels& kernels_;
  ThreadPool& threads_;
  std::vector<SequenceRows> sequences_;
  Buffer<float> scratch_;
};

}  // namespace cadre
