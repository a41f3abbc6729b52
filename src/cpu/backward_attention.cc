#include "cpu/backward_attention.h"

#include <algorithm>
#include <cmath>

namespace cadre {
namespace {

constexpr int64_t kQueryBlock = 64;
// Scores lie [kQueryBlock][kScoreStride]: a stride of 17 cache lines, so that a column does not
// fall into few cache sets.
constexpr int64_t kScoreStride = kKvBlock + 16;

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Sizes, in floats, of a thread's scratch. D is head_dim; a packed factor of n columns is
// [CeilDiv(n, tile_cols)][k][tile_cols].
struct Layout {
  int64_t keys_t, keys,
      values_t;              // of a page, as right factors: K^T [D, 256], K [256, D], V^T [D, 256]
  int64_t q_right, d_right;  // a block of q and d_out as right factors [64, D]
  int64_t left;              // one panel of a left factor
  int64_t scores;

  Layout(const BackwardKernels& kernels, int64_t dim)
      : keys_t(CeilDiv(kKvBlock, kernels.tile_cols) * kernels.tile_cols * dim),
        keys(CeilDiv(dim, kernels.tile_cols) * kernels.tile_cols * kKvBlock),
        values_t(keys_t),
        q_right(CeilDiv(dim, kernels.tile_cols) * kernels.tile_cols * kQueryBlock),
        d_right(q_right),
        left(kernels.a_panel_stride * std::max(dim, kKvBlock)),
        scores(kQueryBlock * kScoreStride) {}
  int64_t total() const {
    return CeilDiv(keys_t + keys + values_t + q_right + d_right + left + 2 * scores, 16) * 16;
  }
};

// A right factor packed in panels of tile_cols columns.
struct RightFactor {
  float* panels = nullptr;
  int64_t depth = 0;
  int64_t cols = 0;
};

// One sequence and one key/value head.
class Unit {
 public:
  Unit(const BackwardKernels& kernels, const AttentionGradient& gradient, int64_t begin,
       int64_t length, const KvSequence& sequence, int64_t kv_head, float* scratch)
      : kernels_(kernels),
        g_(gradient),
        begin_(begin),
        length_(length),
        sequence_(sequence),
        kv_head_(kv_head),
        dim_(gradient.batch.shape.head_dim),
        layout_(kernels, dim_),
        keys_t_(scratch),
        keys_(keys_t_ + layout_.keys_t),
        values_t_(keys_ + layout_.keys),
        q_right_(values_t_ + layout_.values_t),
        d_right_(q_right_ + layout_.q_right),
        left_(d_right_ + layout_.d_right),
        scores_(left_ + layout_.left),
        d_scores_(scores_ + layout_.scores) {}

  void Run() {
    const int64_t group = g_.num_heads / g_.batch.shape.num_kv_heads;
    for (int64_t page = 0; page * kKvBlock < length_; ++page) {
      PackPage(page);
      for (int64_t head = kv_head_ * group; head < (kv_head_ + 1) * group; ++head) {
        for (int64_t q = page * kKvBlock; q < length_; q += kQueryBlock) {
          if (!AddBlock(page, head, q, std::min(q + kQueryBlock, length_))) break;
        }
      }
    }
  }

 private:
  // Packs op(from) [depth, cols] as a right factor.
  RightFactor Pack(const float* from, int64_t stride, bool transposed, int64_t depth, int64_t cols,
                   float* to) const {
    const int64_t tile = kernels_.tile_cols;
    for (int64_t col = 0; col < cols; col += tile) {
      const auto pack = transposed ? kernels_.pack_columns : kernels_.pack_rows;
      pack(std::min(tile, cols - col), depth, transposed ? from + col * stride : from + col, stride,
           to + col * depth, tile);
    }
    return {to, depth, cols};
  }

  void PackPage(int64_t page) {
    const auto* keys = reinterpret_cast<const float*>(
        sequence_.HeadBlock(g_.batch.shape, page, g_.batch.layer, kv_head_));  // [D, 256]
    const float* values = keys + dim_ * kKvBlock;                              // [256, D]
    page_keys_ = std::min(kKvBlock, length_ - page * kKvBlock);
    keys_t_factor_ = Pack(keys, kKvBlock, false, dim_, page_keys_, keys_t_);
    keys_factor_ = Pack(keys, kKvBlock, true, page_keys_, dim_, keys_);
    values_t_factor_ = Pack(values, dim_, true, dim_, page_keys_, values_t_);
  }

  // c += a [rows, k] b[begin_depth .. begin_depth + k, columns from begin_col]. The left factor:
  // element (r, i) at a[r * a_stride
  // + i], or at a[i * a_stride + r] where transposed, which needs no packing. begin_col: a multiple
  // of tile_cols.
  void AddProduct(const float* a, int64_t a_stride, bool transposed, int64_t rows, int64_t k,
                  const RightFactor& b, int64_t begin_depth, int64_t begin_col, int64_t end_col,
                  float* c, int64_t c_stride) const {
    const int64_t tile = kernels_.tile_cols, num_panels = CeilDiv(rows, kernels_.tile_rows);
    for (int64_t p = 0; p < num_panels; ++p) {
      const int64_t row = rows * p / num_panels, height = rows * (p + 1) / num_panels - row;
      const float* panel = a + row;
      if (!transposed) {
        kernels_.pack_columns(height, k, a + row * a_stride, a_stride, left_,
                              kernels_.a_panel_stride);
        panel = left_;
      }
      for (int64_t col = begin_col; col < end_col; col += tile) {
        kernels_.multiply(height, std::min(tile, end_col - col), k, panel,
                          transposed ? a_stride : kernels_.a_panel_stride,
                          b.panels + col * b.depth + begin_depth * tile, tile,
                          c + row * c_stride + col - begin_col, c_stride);
      }
    }
  }

  // What the queries [q_begin, q_end) of `head` and the page's keys give each other. False: the
  // window has left the page behind.
  bool AddBlock(int64_t page, int64_t head, int64_t q_begin, int64_t q_end) {
    const int64_t first = page * kKvBlock;  // key positions below count from it
    const int64_t oldest =
        g_.window > 0 ? std::max<int64_t>(0, q_begin - g_.window + 1 - first) : 0;
    const int64_t begin = oldest / kernels_.tile_cols * kernels_.tile_cols;
    const int64_t end = std::min(page_keys_, q_end - first);
    if (oldest >= page_keys_) return false;
    const int64_t rows = q_end - q_begin, row = begin_ + q_begin, kv_row = begin_ + first + begin;
    const float* q = g_.q.row(row) + head * dim_;
    const float* d_out = g_.d_out.row(row) + head * dim_;
    std::fill_n(scores_, rows * kScoreStride, 0.0f);
    std::fill_n(d_scores_, rows * kScoreStride, 0.0f);
    AddProduct(q, g_.q.stride, false, rows, dim_, keys_t_factor_, 0, begin, end, scores_,
               kScoreStride);
    AddProduct(d_out, g_.d_out.stride, false, rows, dim_, values_t_factor_, 0, begin, end,
               d_scores_, kScoreStride);
    for (int64_t r = 0; r < rows; ++r) SoftmaxRow(head, q_begin + r, first + begin, first + end, r);

    const RightFactor q_factor = Pack(q, g_.q.stride, false, rows, dim_, q_right_);
    const RightFactor d_factor = Pack(d_out, g_.d_out.stride, false, rows, dim_, d_right_);
    const int64_t column = kv_head_ * dim_;
    AddProduct(scores_, kScoreStride, true, end - begin, rows, d_factor, 0, 0, dim_,
               g_.d_v.row(kv_row) + column, g_.d_v.stride);
    AddProduct(d_scores_, kScoreStride, true, end - begin, rows, q_factor, 0, 0, dim_,
               g_.d_k.row(kv_row) + column, g_.d_k.stride);
    AddProduct(d_scores_, kScoreStride, false, rows, end - begin, keys_factor_, begin, 0, dim_,
               g_.d_q.row(row) + head * dim_, g_.d_q.stride);
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
  const KvSequence& sequence_;
  const int64_t kv_head_, dim_;
  const Layout layout_;
  float* const keys_t_;
  float* const keys_;
  float* const values_t_;
  float* const q_right_;
  float* const d_right_;
  float* const left_;
  float* const scores_;    // [64, kScoreStride] scores, then probabilities
  float* const d_scores_;  // their gradient
  int64_t page_keys_ = 0;
  RightFactor keys_t_factor_, keys_factor_, values_t_factor_;
};

}  // namespace

void AttentionGradientRunner::FindSequences(const AttentionGradient& gradient) {
  const KvBatch& batch = gradient.batch;
  sequences_.clear();
  for (int64_t t = 0; t < gradient.q.rows; ++t) {
    const auto row = static_cast<size_t>(t);
    const int64_t sequence = batch.sequence_of_row[row];
    if (batch.positions[row] == 0) {
      CADRE_CHECK(sequence >= 0 && sequence < std::ssize(batch.sequences));
      sequences_.push_back({t, 0, sequence});
    }
    CADRE_CHECK(!sequences_.empty() && sequences_.back().sequence == sequence);
    CADRE_CHECK(batch.positions[row] == sequences_.back().length++);
  }
  for (const SequenceRows& rows : sequences_) {
    const auto& pages = batch.sequences[static_cast<size_t>(rows.sequence)].pages;
    CADRE_CHECK(std::ssize(pages) * kKvBlock >= rows.length);
  }
}

void AttentionGradientRunner::Run(const AttentionGradient& gradient) {
  FindSequences(gradient);
  const KvShape& shape = gradient.batch.shape;
  const int64_t scratch_floats = Layout(kernels_, shape.head_dim).total();
  scratch_.Reserve(scratch_floats * threads_.num_threads());
  threads_.ParallelFor(std::ssize(sequences_) * shape.num_kv_heads, [&](int64_t index, int thread) {
    const SequenceRows& rows = sequences_[static_cast<size_t>(index / shape.num_kv_heads)];
    const KvSequence& sequence = gradient.batch.sequences[static_cast<size_t>(rows.sequence)];
    Unit(kernels_, gradient, rows.begin, rows.length, sequence, index % shape.num_kv_heads,
         scratch_.data() + scratch_floats * thread)
        .Run();
  });
}

}  // namespace cadre
