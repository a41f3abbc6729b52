#include "cpu/attention.h"

#include <algorithm>

namespace cadre {
namespace {

constexpr int64_t kTasksPerThread = 4;

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
                                         int64_t block) {
  const int64_t shared = args.shared_heads(), head_dim = args.batch.shape.head_dim;
  AttentionRow part = RowOf(args, row, kv_head);
  const int64_t page = part.begin / kKvBlock + block;
  part.begin = std::max(part.begin, page * kKvBlock);
  part.end = std::min(part.end, (page + 1) * kKvBlock);
  const int64_t index =
      (first_block_[static_cast<size_t>(row)] + block) * args.batch.shape.num_kv_heads + kv_head;
  float* out = blocks_.data() + index * shared * (head_dim + 2);
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
  const int64_t wanted_groups =
      kTasksPerThread * threads_.num_threads() / args.batch.shape.num_kv_heads + 1;
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

bool AttentionRunner::TooFewTasks(const Args& args) const {
  if (threads_.num_threads() == 1) return false;
  return args.q.rows * args.batch.shape.num_kv_heads < kTasksPerThread * threads_.num_threads();
}

void AttentionRunner::Run(const Args& args) {
  states_.Reserve(2 * args.q.rows * args.num_heads);
  scratch_.Reserve(threads_.num_threads() *
                   AttentionScratch(args.shared_heads(), args.batch.shape.head_dim));
  if (TooFewTasks(args)) {
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
    for (int64_t r = 0; r < together.num_rows; ++r) {
      float* lse =
          args.lse.empty() ? nullptr : args.lse.row(group.begin + r) + kv_head * together.heads;
      kernels_.finish_attention(together.heads, together.head_dim, rows[r].sums, lse);
    }
  });
}

void AttentionRunner::RunBlocks(const Args& args) {
  const int64_t kv_heads = args.batch.shape.num_kv_heads, head_dim = args.batch.shape.head_dim;
  const int64_t shared = args.shared_heads();
  first_block_.assign(1, 0);
  for (int64_t row = 0; row < args.q.rows; ++row) {
    const AttentionRow whole = RowOf(args, row, 0);
    first_block_.push_back(first_block_.back() + (whole.end - 1) / kKvBlock -
                           whole.begin / kKvBlock + 1);
  }
  const int64_t num_blocks = first_block_.back();
  blocks_.Reserve(num_blocks * kv_heads * shared * (head_dim + 2));
  threads_.ParallelFor(num_blocks * kv_heads, [&](int64_t i, int thread) {
    const int64_t block = i / kv_heads, kv_head = i % kv_heads;
    const int64_t row = std::upper_bound(first_block_.begin(), first_block_.end(), block) -
                        first_block_.begin() - 1;
    const AttentionRow part =
        RowOfBlock(args, row, kv_head, block - first_block_[static_cast<size_t>(row)]);
    AttentionRows alone = RowsOf(args, row, kv_head, thread);
    alone.rows = &part;
    alone.num_rows = 1;
    kernels_.attend(alone);
  });
  threads_.ParallelFor(args.q.rows * kv_heads, [&](int64_t i, int) {
    const int64_t row = i / kv_heads, kv_head = i % kv_heads;
    const AttentionSums sums = RowOf(args, row, kv_head).sums;
    const auto at = static_cast<size_t>(row);
    const AttentionSums first = RowOfBlock(args, row, kv_head, 0).sums;
    std::copy_n(first.out, shared * head_dim, sums.out);
    std::copy_n(first.max, shared, sums.max);
    std::copy_n(first.sum, shared, sums.sum);
    for (int64_t block = 1; block < first_block_[at + 1] - first_block_[at]; ++block)
      kernels_.merge_attention(shared, head_dim, sums, RowOfBlock(args, row, kv_head, block).sums);
    kernels_.finish_attention(shared, head_dim, sums,
                              args.lse.empty() ? nullptr : args.lse.row(row) + kv_head * shared);
  });
}

}  // namespace cadre
