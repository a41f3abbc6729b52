#include "cpu/attention.h"

#include <algorithm>

namespace cadre {
namespace {

constexpr int64_t kTasksPerThread = 4;
constexpr int64_t kBlocksPerRound = 32;  // of a row, summed apart before they are merged

int64_t NumBlocks(const AttentionRow& row) {
  return (row.end - 1) / kKvBlock - row.begin / kKvBlock + 1;
}

}  // namespace

AttentionRow AttentionRunner::RowOf(const Args& args, int64_t row, int64_t kv_head) const {
  const int64_t shared = args.shared_heads(), head_dim = args.batch.shape.head_dim;
  const int64_t end = args.batch.positions[static_cast<size_t>(row)] + 1;
  float* state = states_.data() + 2 * (row * args.num_heads + kv_head * shared);
  return {.q = args.q.row(row) + kv_head * shared * head_dim,
          .begin = args.window > 0 ? std::max<int64_t>(0, end - args.window) : 0,
          .end = end,
          .sums = {args.out.row(row) + kv_head * shared * head_dim, state, state + shared}};
}

AttentionRow AttentionRunner::RowOfBlock(const Args& args, int64_t row, int64_t kv_head,
                                         int64_t block) const {
  const int64_t shared = args.shared_heads(), head_dim = args.batch.shape.head_dim;
  AttentionRow part = RowOf(args, row, kv_head);
  const int64_t page = part.begin / kKvBlock + block;
  part.begin = std::max(part.begin, page * kKvBlock);
  part.end = std::min(part.end, (page + 1) * kKvBlock);
  const int64_t slot =
      (row * args.batch.shape.num_kv_heads + kv_head) * kBlocksPerRound + block % kBlocksPerRound;
  float* out = blocks_.data() + slot * shared * (head_dim + 2);
  part.sums = {out, out + shared * head_dim, out + shared * (head_dim + 1)};
  return part;
}

AttentionRows AttentionRunner::RowsOf(const Args& args, int64_t row, int64_t kv_head,
                                      int thread) const {
  const KvBatch& batch = args.batch;
  const KvShape& shape = batch.shape;
  const int32_t sequence = batch.sequence_of_row[static_cast<size_t>(row)];
  return {
      .type = shape.type,
      .head_dim = shape.head_dim,
      .heads = args.shared_heads(),
      .pages = batch.sequences[static_cast<size_t>(sequence)].pages.data(),
      .head_offset = (batch.layer * shape.num_kv_heads + kv_head) * shape.head_bytes(),
      .block_bytes = shape.block_bytes(),
      .rows = nullptr,
      .num_rows = 0,
      .scratch = scratch_.data() + thread * AttentionScratch(args.shared_heads(), shape.head_dim)};
}

// Groups as large as leave every thread a few.
void AttentionRunner::PlanGroups(const Args& args) {
  const int64_t rows = args.q.rows;
  const int64_t wanted_groups = WantedTasks() / args.batch.shape.num_kv_heads + 1;
  const int64_t most = std::clamp<int64_t>(rows / wanted_groups, 1, kMaxAttentionRows);
  groups_.clear();
  for (int64_t row = 0; row < rows; ++row) {
    const auto& sequence_of_row = args.batch.sequence_of_row;
    const bool follows = row > 0 && sequence_of_row[static_cast<size_t>(row)] ==
                                        sequence_of_row[static_cast<size_t>(row - 1)];
    if (follows && groups_.back().end - groups_.back().begin < most) {
      ++groups_.back().end;
    } else {
      groups_.push_back({row, row + 1});
    }
  }
}

int64_t AttentionRunner::WantedTasks() const {
  return threads_.num_threads() == 1 ? 1 : kTasksPerThread * threads_.num_threads();
}

void AttentionRunner::Run(const Args& args) {
  states_.Reserve(2 * args.q.rows * args.num_heads);
  scratch_.Reserve(threads_.num_threads() *
                   AttentionScratch(args.shared_heads(), args.batch.shape.head_dim));
  // As large as it ever gets: which way is taken must not show in when memory is allocated.
  blocks_.Reserve(WantedTasks() * kBlocksPerRound * args.shared_heads() *
                  (args.batch.shape.head_dim + 2));
  if (args.q.rows * args.batch.shape.num_kv_heads < WantedTasks()) {
    RunBlocks(args);
  } else {
    RunGroups(args);
  }
}

void AttentionRunner::RunGroups(const Args& args) {
  PlanGroups(args);
  const int64_t kv_heads = args.batch.shape.num_kv_heads;
  const auto num_groups = static_cast<int64_t>(groups_.size());
  threads_.ParallelFor(num_groups * kv_heads, [&](int64_t i, int thread) {
    // The longest first: the tail of the loop is then short.
    const Group group = groups_[static_cast<size_t>(num_groups - 1 - i / kv_heads)];
    const int64_t kv_head = i % kv_heads;
    AttentionRow rows[kMaxAttentionRows];
    AttentionRows together = RowsOf(args, group.begin, kv_head, thread);
    for (int64_t row = group.begin; row < group.end; ++row)
      rows[together.num_rows++] = RowOf(args, row, kv_head);
    together.rows = rows;
    kernels_.attend(together);
    for (int64_t r = 0; r < together.num_rows; ++r)
      Finish(args, group.begin + r, kv_head, rows[r].sums);
  });
}

void AttentionRunner::RunBlocks(const Args& args) {
  const int64_t kv_heads = args.batch.shape.num_kv_heads;
  int64_t most_blocks = 0;
  for (int64_t row = 0; row < args.q.rows; ++row)
    most_blocks = std::max(most_blocks, NumBlocks(RowOf(args, row, 0)));
  for (int64_t begin = 0; begin < most_blocks; begin += kBlocksPerRound) {
    const int64_t blocks = std::min(kBlocksPerRound, most_blocks - begin);
    threads_.ParallelFor(args.q.rows * kv_heads * blocks, [&](int64_t i, int thread) {
      const int64_t row = i / blocks / kv_heads, kv_head = i / blocks % kv_heads;
      SumBlock(args, row, kv_head, begin + i % blocks, thread);
    });
    threads_.ParallelFor(args.q.rows * kv_heads, [&](int64_t i, int) {
      MergeBlocks(args, i / kv_heads, i % kv_heads, begin);
    });
  }
}

void AttentionRunner::SumBlock(const Args& args, int64_t row, int64_t kv_head, int64_t block,
                               int thread) {
  if (block >= NumBlocks(RowOf(args, row, kv_head))) return;
  const AttentionRow part = RowOfBlock(args, row, kv_head, block);
  AttentionRows alone = RowsOf(args, row, kv_head, thread);
  alone.rows = &part;
  alone.num_rows = 1;
  kernels_.attend(alone);
}

// The blocks of a round, from `begin` on, after those before.
void AttentionRunner::MergeBlocks(const Args& args, int64_t row, int64_t kv_head, int64_t begin) {
  const int64_t heads = args.shared_heads(), head_dim = args.batch.shape.head_dim;
  const AttentionRow whole = RowOf(args, row, kv_head);
  const int64_t num_blocks = NumBlocks(whole);
  const int64_t end = std::min(begin + kBlocksPerRound, num_blocks);
  for (int64_t block = begin; block < end; ++block) {
    const AttentionSums part = RowOfBlock(args, row, kv_head, block).sums;
    if (block > 0) {
      kernels_.merge_attention(heads, head_dim, whole.sums, part);
    } else {
      std::copy_n(part.out, heads * head_dim, whole.sums.out);
      std::copy_n(part.max, heads, whole.sums.max);
      std::copy_n(part.sum, heads, whole.sums.sum);
    }
  }
  if (begin < num_blocks && end == num_blocks) Finish(args, row, kv_head, whole.sums);
}

void AttentionRunner::Finish(const Args& args, int64_t row, int64_t kv_head,
                             const AttentionSums& sums) {
  const int64_t heads = args.shared_heads();
  float* lse = args.lse.empty() ? nullptr : args.lse.row(row) + kv_head * heads;
  kernels_.finish_attention(heads, args.batch.shape.head_dim, sums, lse);
}

}  // namespace cadre
