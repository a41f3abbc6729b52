// Attention on the CPU. Rows of one sequence that follow each other share what they read of it;
// where there are fewer of them than the threads need, each block of positions is summed on its own
// and the blocks are merged in their order, which gives the same bits.
#pragma once

#include <cstdint>
#include <vector>

#include "base/thread_pool.h"
#include "cpu/kernels.h"
#include "ops/device.h"
#include "tensor/buffer.h"

namespace cadre {

class AttentionRunner {
 public:
  AttentionRunner(const KernelTable& kernels, ThreadPool& threads)
      : kernels_(kernels), threads_(threads) {}

  // As of Device::Attention.
  struct Args {
    Mat<const float> q;
    int64_t num_heads, window;
    const KvBatch& batch;
    Mat<float> out, lse;

    int64_t shared_heads() const { return num_heads / batch.shape.num_kv_heads; }
  };
  void Run(const Args& args);

 private:
  // Rows [begin, end), of one sequence.
  struct Group {
    int64_t begin, end;
  };
  void PlanGroups(const Args& args);
  int64_t WantedTasks() const;
  void RunGroups(const Args& args);
  void RunBlocks(const Args& args);
  // One head's part of a row's sums over [begin, end), and where they are.
  AttentionRow RowOf(const Args& args, int64_t row, int64_t kv_head) const;
  AttentionRow RowOfBlock(const Args& args, int64_t row, int64_t kv_head, int64_t block) const;
  AttentionRows RowsOf(const Args& args, int64_t row, int64_t kv_head, int thread) const;
  void SumBlock(const Args& args, int64_t row, int64_t kv_head, int64_t block, int thread);
  void MergeBlocks(const Args& args, int64_t row, int64_t kv_head, int64_t begin);
  void Finish(const Args& args, int64_t row, int64_t kv_head, const AttentionSums& sums);

  const KernelTable& kernels_;
  ThreadPool& threads_;
  std::vector<Group> groups_;
  Buffer<float> scratch_;  // a part per thread
  Buffer<float> states_;   // [rows, heads, 2] max and sum
  Buffer<float> blocks_;   // of each block and key/value head: out, max, sum
};

}  // namespace cadre
