// Attention of whole sequences, for training: blocks of queries against blocks of keys as matrix
// products, with running maxima and sums (Dao et al., arXiv 2205.14135). Scores lie transposed,
// queries side by side, so that softmax needs no sums across a vector and nothing but the queries
// is packed. A row's output is a bit-exact function of its position and of its sequence up to it.
#pragma once

#include <cstdint>
#include <vector>

#include "base/thread_pool.h"
#include "cpu/attention_tiles.h"

namespace cadre {

// Keeps the scratch between calls.
class BlockAttentionRunner {
 public:
  // The arguments of BackwardOps::Attention.
  struct Args {
    Mat<const float> q, k, v;
    int64_t num_heads, window;
    const KvBatch& batch;
    Mat<float> out, lse;
  };

  BlockAttentionRunner(const BackwardKernels& kernels, ThreadPool& threads)
      : kernels_(kernels), threads_(threads) {}

  void Run(const Args& args);

 private:
  // Queries [begin, begin + rows) of a sequence.
  struct Block {
    SequenceRows sequence;
    int64_t begin, rows;
  };
  struct Scratch;
  void PlanBlocks(const Args& args);
  void AttendHead(const Args& args, const Block& block, int64_t head, const Scratch& scratch) const;
  void AddKeys(const Args& args, const Block& block, int64_t head, int64_t begin_key, int64_t keys,
               bool first, const RightFactor& queries, const Scratch& scratch) const;

  const BackwardKernels& kernels_;
  ThreadPool& threads_;
  std::vector<Block> blocks_;
  Buffer<float> scratch_;  // each thread's
};

}  // namespace cadre
