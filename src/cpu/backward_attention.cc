#include "cpu/backward_attention.h"

#include <algorithm>
#include <cmath>

namespace cadre {
namespace {

constexpr int64_t kQueryBlock = 64;
constexpr int64_t kKeyBlock = 256;
// Scores lie [kQueryBlock][kScoreStride]: a stride of 17 cache lines, so that a column does not
// fall into few cache sets.
constexpr int64_t kScoreStride = kKeyBlock + 16;

// Sizes, in floats, of a thread's scratch. D is head_dim.
struct Layout {
  int64_t keys_t, values_t;  // of a block, as right factors: K^T and V^T [D, kKeyBlock]
  int64_t scores;

  Layout(const BackwardKernels& kernels, int64_t dim)
      : keys_t(PackedFloats(kernels, dim, kKeyBlock)),
        values_t(keys_t),
        scores(kQueryBlock * kScoreStride) {}
  int64_t total() const { return keys_t + values_t + 2 * scores; }
};

// One sequence and one key/value head.
class Unit {
 public:
  Unit(const BackwardKernels& kernels, const AttentionGradient& gradient,
       const SequenceRows& sequence, int64_t kv_head, float* scratch)
      : kernels_(kernels),
        g_(gradient),
        begin_(sequence.begin),
        length_(sequence.length),
        dim_(gradient.batch.shape.head_dim),
        group_(gradient.num_heads / gradient.batch.shape.num_kv_heads),
        kv_head_(kv_head),
        layout_(kernels, dim_),
        keys_t_(scratch),
        values_t_(keys_t_ + layout_.keys_t),
        scores_(values_t_ + layout_.values_t),
        d_scores_(scores_ + layout_.scores) {}

  void Run() {
    for (int64_t t = begin_; t < begin_ + length_; ++t) {
      std::fill_n(g_.d_q.row(t) + kv_head_ * group_ * dim_, group_ * dim_, 0.0f);
      std::fill_n(g_.d_k.row(t) + kv_head_ * dim_, dim_, 0.0f);
      std::fill_n(g_.d_v.row(t) + kv_head_ * dim_, dim_, 0.0f);
    }
    for (int64_t first = 0; first < length_; first += kKeyBlock) {
      PackKeys(first);
      for (int64_t head = kv_head_ * group_; head < (kv_head_ + 1) * group_; ++head) {
        for (int64_t q = first; q < length_; q += kQueryBlock) {
          if (!AddBlock(first, head, q, std::min(q + kQueryBlock, length_))) break;
        }
      }
    }
  }

 private:
  void PackKeys(int64_t first) {
    num_keys_ = std::min(kKeyBlock, length_ - first);
    const auto rows = [&](Mat<const float> m) {
      return Mat<const float>(m.row(begin_ + first) + kv_head_ * dim_, num_keys_, dim_, m.stride);
    };
    keys_t_factor_ = PackTransposed(kernels_, rows(g_.k), keys_t_);
    values_t_factor_ = PackTransposed(kernels_, rows(g_.v), values_t_);
  }

  // What the queries [q_begin, q_end) of `head` and the keys from `first` on give each other.
  // False: the window has left those keys behind.
  bool AddBlock(int64_t first, int64_t head, int64_t q_begin, int64_t q_end) {
    // Keys below count from `first`.
    const int64_t oldest =
        g_.window > 0 ? std::max<int64_t>(0, q_begin - g_.window + 1 - first) : 0;
    const int64_t skipped = oldest / kernels_.tile_cols;  // tiles
    const int64_t begin = skipped * kernels_.tile_cols;
    const int64_t end = std::min(num_keys_, q_end - first);
    if (oldest >= num_keys_) return false;
    const int64_t rows = q_end - q_begin, keys = end - begin;
    const int64_t row = begin_ + q_begin, kv_row = begin_ + first + begin;
    const int64_t column = head * dim_, kv_column = kv_head_ * dim_;
    const float* q = g_.q.row(row) + column;
    const float* d_out = g_.d_out.row(row) + column;
    const auto from = [&](const RightFactor& b) {
      return RightFactor{b.data + skipped * b.panel, b.stride, b.panel};
    };
    MultiplyTiles(kernels_, {q, g_.q.stride}, from(keys_t_factor_), dim_, false,
                  {scores_, rows, keys, kScoreStride});
    MultiplyTiles(kernels_, {d_out, g_.d_out.stride}, from(values_t_factor_), dim_, false,
                  {d_scores_, rows, keys, kScoreStride});
    for (int64_t r = 0; r < rows; ++r) SoftmaxRow(head, q_begin + r, first + begin, first + end, r);

    const LeftFactor scores_t{scores_, kScoreStride, false},
        d_scores_t{d_scores_, kScoreStride, false};
    MultiplyTiles(kernels_, scores_t, AsItLies(kernels_, d_out, g_.d_out.stride), rows, true,
                  {g_.d_v.row(kv_row) + kv_column, keys, dim_, g_.d_v.stride});
    MultiplyTiles(kernels_, d_scores_t, AsItLies(kernels_, q, g_.q.stride), rows, true,
                  {g_.d_k.row(kv_row) + kv_column, keys, dim_, g_.d_k.stride});
    MultiplyTiles(kernels_, {d_scores_, kScoreStride},
                  AsItLies(kernels_, g_.k.row(kv_row) + kv_column, g_.k.stride), keys, true,
                  {g_.d_q.row(row) + column, rows, dim_, g_.d_q.stride});
    return true;
  }

  // Turns the row's scores of the keys [begin, end) into probabilities and their gradient; zero
  // where the query may not look.
  void SoftmaxRow(int64_t head, int64_t position, int64_t begin, int64_t end, int64_t r) {
    const int64_t row = begin_ + position;
    float* scores = scores_ + r * kScoreStride;
    float* d_scores = d_scores_ + r * kScoreStride;
    const int64_t low = g_.window > 0 ? std::max(begin, position - g_.window + 1) : begin;
    const int64_t high = std::min(end, position + 1);
    const int64_t from = std::min(low, end) - begin, to = std::max(high - begin, from);
    for (float* values : {scores, d_scores}) {
      std::fill(values, values + from, 0.0f);
      std::fill(values + to, values + (end - begin), 0.0f);
    }
    const float delta =
        kernels_.dot(dim_, g_.out.row(row) + head * dim_, g_.d_out.row(row) + head * dim_);
    const auto scale = static_cast<float>(1 / std::sqrt(static_cast<double>(dim_)));
    kernels_.attention_row(to - from, scale, g_.lse.row(row)[head], delta, scores + from,
                           d_scores + from);
  }

  const BackwardKernels& kernels_;
  const AttentionGradient& g_;
  const int64_t begin_, length_;
  const int64_t dim_, group_, kv_head_;
  const Layout layout_;
  float* const keys_t_;
  float* const values_t_;
  float* const scores_;    // [kQueryBlock, kScoreStride] scores, then probabilities
  float* const d_scores_;  // their gradient
  int64_t num_keys_ = 0;
  RightFactor keys_t_factor_, values_t_factor_;
};

}  // namespace

void AttentionGradientRunner::Run(const AttentionGradient& gradient) {
  const auto sequences = FindSequences(gradient.batch, gradient.q.rows);
  const KvShape& shape = gradient.batch.shape;
  const int64_t scratch_floats = Layout(kernels_, shape.head_dim).total();
  scratch_.Reserve(scratch_floats * threads_.num_threads());
  threads_.ParallelFor(std::ssize(sequences) * shape.num_kv_heads, [&](int64_t index, int thread) {
    Unit(kernels_, gradient, sequences[static_cast<size_t>(index / shape.num_kv_heads)],
         index % shape.num_kv_heads, scratch_.data() + scratch_floats * thread)
        .Run();
  });
}

}  // namespace cadre
