#include "cpu/block_attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace cadre {
namespace {

constexpr int64_t kQueryBlock = 64;
constexpr int64_t kKeyBlock = 128;
// Five cache lines: a column of scores does not fall into few cache sets.
constexpr int64_t kScoreStride = kQueryBlock + 16;
constexpr float kBelowAllScores = -1e30f;
constexpr int64_t kNoWindow = std::numeric_limits<int64_t>::min() / 4;

int64_t RoundUp(int64_t a, int64_t b) { return (a + b - 1) / b * b; }

}  // namespace

struct BlockAttentionRunner::Scratch {
  float* scores;            // [kKeyBlock, kScoreStride]
  float *max, *sum, *keep;  // [kQueryBlock]
  float* queries;           // packed

  explicit Scratch(float* memory)
      : scores(memory),
        max(scores + kKeyBlock * kScoreStride),
        sum(max + kQueryBlock),
        keep(sum + kQueryBlock),
        queries(keep + kQueryBlock) {}
  static int64_t Floats(int64_t head_dim) {
    return kKeyBlock * kScoreStride + (3 + head_dim) * kQueryBlock;
  }
};

// The longest first: the tail of the loop over them is then short.
void BlockAttentionRunner::PlanBlocks(const Args& args) {
  blocks_.clear();
  for (const SequenceRows& sequence : FindSequences(args.batch, args.q.rows)) {
    for (int64_t begin = 0; begin < sequence.length; begin += kQueryBlock)
      blocks_.push_back({sequence, begin, std::min(kQueryBlock, sequence.length - begin)});
  }
  std::stable_sort(blocks_.begin(), blocks_.end(),
                   [](const Block& a, const Block& b) { return a.begin > b.begin; });
}

void BlockAttentionRunner::Run(const Args& args) {
  CADRE_CHECK(kQueryBlock % kernels_.tile_cols == 0);
  PlanBlocks(args);
  const KvShape& shape = args.batch.shape;
  const int64_t group = args.num_heads / shape.num_kv_heads;
  const int64_t scratch_floats = Scratch::Floats(shape.head_dim);
  scratch_.Reserve(scratch_floats * threads_.num_threads());
  threads_.ParallelFor(std::ssize(blocks_) * shape.num_kv_heads, [&](int64_t i, int thread) {
    const Block& block = blocks_[static_cast<size_t>(i / shape.num_kv_heads)];
    const int64_t kv_head = i % shape.num_kv_heads;
    const Scratch scratch(scratch_.data() + scratch_floats * thread);
    for (int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head)
      AttendHead(args, block, head, scratch);
  });
}

void BlockAttentionRunner::AttendHead(const Args& args, const Block& block, int64_t head,
                                      const Scratch& scratch) const {
  const int64_t dim = args.batch.shape.head_dim, row = block.sequence.begin + block.begin;
  std::fill_n(scratch.max, kQueryBlock, kBelowAllScores);
  std::fill_n(scratch.sum, kQueryBlock, 0.0f);
  const RightFactor queries = PackTransposed(
      kernels_, {args.q.row(row) + head * dim, block.rows, dim, args.q.stride}, scratch.queries);
  const int64_t oldest = args.window > 0 ? std::max<int64_t>(0, block.begin - args.window + 1) : 0;
  const int64_t first = oldest / kKeyBlock * kKeyBlock, end = block.begin + block.rows;
  for (int64_t key = first; key < end; key += kKeyBlock) {
    AddKeys(args, block, head, key, std::min(kKeyBlock, end - key), key == first, queries, scratch);
  }
  for (int64_t r = 0; r < block.rows; ++r) {
    float* out = args.out.row(row + r) + head * dim;
    kernels_.scale(dim, 1 / scratch.sum[r], out, out);
    if (!args.lse.empty()) args.lse.row(row + r)[head] = scratch.max[r] + std::log(scratch.sum[r]);
  }
}

// What the keys [begin_key, begin_key + keys) add to the block's outputs, which wait to be divided
// by their sums.
void BlockAttentionRunner::AddKeys(const Args& args, const Block& block, int64_t head,
                                   int64_t begin_key, int64_t keys, bool first,
                                   const RightFactor& queries, const Scratch& scratch) const {
  const KvShape& shape = args.batch.shape;
  const int64_t dim = shape.head_dim, row = block.sequence.begin + block.begin;
  const int64_t kv_row = block.sequence.begin + begin_key;
  const int64_t kv_column = head / (args.num_heads / shape.num_kv_heads) * dim;
  const int64_t padded_rows = RoundUp(block.rows, kernels_.tile_cols);
  MultiplyTiles(kernels_, {args.k.row(kv_row) + kv_column, args.k.stride}, queries, dim, false,
                {scratch.scores, keys, padded_rows, kScoreStride});
  const int64_t newest = block.begin - begin_key;
  kernels_.softmax_columns({.keys = keys,
                            .queries = padded_rows,
                            .oldest = args.window > 0 ? newest - args.window + 1 : kNoWindow,
                            .newest = newest,
                            .scale = static_cast<float>(1 / std::sqrt(static_cast<double>(dim))),
                            .scores = scratch.scores,
                            .stride = kScoreStride,
                            .max = scratch.max,
                            .sum = scratch.sum,
                            .keep = scratch.keep});
  for (int64_t r = 0; r < block.rows && !first; ++r) {
    float* out = args.out.row(row + r) + head * dim;
    kernels_.scale(dim, scratch.keep[r], out, out);
  }
  MultiplyTiles(kernels_, {scratch.scores, kScoreStride, false},
                AsItLies(kernels_, args.v.row(kv_row) + kv_column, args.v.stride), keys, !first,
                {args.out.row(row) + head * dim, block.rows, dim, args.out.stride});
}

}  // namespace cadre
