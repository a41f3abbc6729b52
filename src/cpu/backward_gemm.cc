#include "cpu/backward_gemm.h"

#include <algorithm>

namespace cadre {
namespace {

// A block of B, [kDepth, kWidth], stays in the second-level cache while all rows of A pass by; a
// panel of A, [14, kDepth], stays in the first. kDepth also fixes where partial sums are added to
// C, so it is part of what the product means.
constexpr int64_t kWidth = 512;

// Rows of A as far apart as this fall into the same few sets of a first-level cache.
constexpr int64_t kCacheWayFloats = 1024;

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Whether the kernel may read A's rows where they lie.
bool LiesWell(const Factor& a) { return !a.transposed && a.mat.stride % kCacheWayFloats != 0; }

}  // namespace

// One block of B and what it adds to the columns of C that it stands under.
struct Gemm::Step {
  Factor a, b;
  Mat<float> c;
  int64_t begin_col, end_col;      // of C
  int64_t begin_depth, end_depth;  // of the sum
  float* packed;                   // null: B is read where it lies
  bool add;                        // to C; else C is overwritten

  int64_t depth() const { return end_depth - begin_depth; }
};

int64_t Gemm::NumPacks(const Step& step) const {
  const bool by_rows = step.b.stored != nullptr && !step.b.transposed;
  return CeilDiv(step.end_col - step.begin_col, by_rows ? RowDecoder::kCols : kernels_.tile_cols);
}

void Gemm::PackB(const Step& step, int64_t index, int thread) {
  if (step.b.stored == nullptr) {
    PackPanel(step, index);
  } else if (step.b.transposed) {
    PackStoredColumns(step, index, thread);
  } else {
    PackStoredRows(step, index, thread);
  }
}

void Gemm::PackPanel(const Step& step, int64_t panel) {
  const int64_t tile_cols = kernels_.tile_cols;
  const int64_t col = step.begin_col + panel * tile_cols;
  const auto pack = step.b.transposed ? kernels_.pack_columns : kernels_.pack_rows;
  pack(std::min(tile_cols, step.end_col - col), step.depth(), step.b.at(step.begin_depth, col),
       step.b.mat.stride, step.packed + panel * tile_cols * kDepth, tile_cols);
}

// A panel of the transposed: the columns of B are rows of the weight.
void Gemm::PackStoredColumns(const Step& step, int64_t panel, int thread) {
  static_assert(kDepth <= RowDecoder::kCols);
  const int64_t tile_cols = kernels_.tile_cols, row = step.begin_col + panel * tile_cols;
  const int64_t width = std::min(tile_cols, step.end_col - row);
  const Mat<const float> part =
      decoder_.Decode(*step.b.stored, row, width, step.begin_depth, step.depth(), thread);
  kernels_.pack_columns(width, step.depth(), part.data, part.stride,
                        step.packed + panel * tile_cols * kDepth, tile_cols);
}

// All panels of some columns, a few rows of the weight at a time.
void Gemm::PackStoredRows(const Step& step, int64_t index, int thread) {
  const int64_t tile_cols = kernels_.tile_cols, begin = index * RowDecoder::kCols;
  const int64_t cols = std::min(RowDecoder::kCols, step.end_col - step.begin_col - begin);
  for (int64_t i = 0; i < step.depth(); i += RowDecoder::kRows) {
    const int64_t rows = std::min(RowDecoder::kRows, step.depth() - i);
    const Mat<const float> part = decoder_.Decode(*step.b.stored, step.begin_depth + i, rows,
                                                  step.begin_col + begin, cols, thread);
    for (int64_t col = 0; col < cols; col += tile_cols) {
      kernels_.pack_rows(std::min(tile_cols, cols - col), rows, part.data + col, part.stride,
                         step.packed + (begin + col) * kDepth + i * tile_cols, tile_cols);
    }
  }
}

// Rows [row, end_row) of op(A) one after another in `panel`, kDepth apart.
void Gemm::PackA(const Step& step, int64_t row, int64_t end_row, float* panel) {
  if (step.a.transposed) {
    kernels_.pack_columns(step.depth(), end_row - row, step.a.at(row, step.begin_depth),
                          step.a.mat.stride, panel, kDepth);
    return;
  }
  for (int64_t r = row; r < end_row; ++r)
    std::copy_n(step.a.at(r, step.begin_depth), step.depth(), panel + (r - row) * kDepth);
}

// Rows [row, end_row), at most tile_rows, and columns [begin_col, end_col) counted from the step's
// first. `a_panel`: scratch.
void Gemm::MultiplyPanel(const Step& step, int64_t row, int64_t end_row, int64_t begin_col,
                         int64_t end_col, float* a_panel) {
  const bool pack_a = !LiesWell(step.a);
  if (pack_a) PackA(step, row, end_row, a_panel);
  const int64_t tile_cols = kernels_.tile_cols;
  const bool packed = step.packed != nullptr;
  for (int64_t col = begin_col; col < end_col; col += tile_cols) {
    const float* b =
        packed ? step.packed + col * kDepth : step.b.at(step.begin_depth, step.begin_col + col);
    kernels_.multiply({.rows = end_row - row,
                       .cols = std::min(tile_cols, end_col - col),
                       .k = step.depth(),
                       .a = pack_a ? a_panel : step.a.at(row, step.begin_depth),
                       .a_stride = pack_a ? kDepth : step.a.mat.stride,
                       .a_in_rows = true,
                       .b = b,
                       .b_stride = packed ? tile_cols : step.b.mat.stride,
                       .c = step.c.row(row) + step.begin_col + col,
                       .c_stride = step.c.stride,
                       .add = step.add});
  }
}

void Gemm::Product(Factor a, Factor b, Into into, Mat<float> c) {
  CADRE_CHECK(a.rows() == c.rows && b.cols() == c.cols && a.cols() == b.rows());
  CADRE_CHECK(a.stored == nullptr && kernels_.tile_cols <= RowDecoder::kRows &&
              RowDecoder::kCols % kernels_.tile_cols == 0);
  const int64_t depth = a.cols();
  if (c.empty()) return;
  if (depth == 0) {
    for (int64_t r = 0; r < c.rows && into == Into::kFresh; ++r)
      std::fill_n(c.row(r), c.cols, 0.0f);
    return;
  }
  // Packing B costs one copy of it; with few rows of A the copy is not earned back.
  const bool pack_b = b.transposed || b.stored != nullptr || c.rows > 2 * kernels_.tile_rows;
  if (b.stored != nullptr) decoder_.Reserve();
  const int64_t block_floats =
      kDepth * std::min(kWidth, CeilDiv(c.cols, kernels_.tile_cols) * kernels_.tile_cols);
  if (pack_b) b_block_.Reserve(2 * block_floats);
  const int64_t thread_floats = kDepth * kernels_.tile_rows;
  a_panels_.Reserve(thread_floats * threads_.num_threads());

  const int64_t depth_steps = CeilDiv(depth, kDepth),
                num_steps = depth_steps * CeilDiv(c.cols, kWidth);
  const auto step_at = [&](int64_t s) {
    const int64_t col = s / depth_steps * kWidth, begin = s % depth_steps * kDepth;
    return Step{a,
                b,
                c,
                col,
                std::min(col + kWidth, c.cols),
                begin,
                std::min(begin + kDepth, depth),
                pack_b ? b_block_.data() + s % 2 * block_floats : nullptr,
                begin > 0 || into == Into::kSum};
  };
  const auto num_panels = [&](const Step& step) {
    return CeilDiv(step.end_col - step.begin_col, kernels_.tile_cols);
  };

  // Rows in panels of equal height. Where there are too few for the threads, columns are cut too.
  const int64_t wanted = threads_.num_threads() == 1 ? 1 : 4 * threads_.num_threads();
  const int64_t row_panels = CeilDiv(c.rows, kernels_.tile_rows);
  Step step = step_at(0);
  if (pack_b)
    threads_.ParallelFor(NumPacks(step), [&](int64_t i, int thread) { PackB(step, i, thread); });
  for (int64_t s = 0; s < num_steps; ++s) {
    const int64_t col_panels = num_panels(step);
    const int64_t col_tiles = std::min(col_panels, CeilDiv(wanted, row_panels));
    const int64_t num_tiles = row_panels * col_tiles;
    const Step next = step_at(std::min(s + 1, num_steps - 1));
    const int64_t num_packs = pack_b && s + 1 < num_steps ? NumPacks(next) : 0;
    threads_.ParallelFor(num_tiles + num_packs, [&](int64_t task, int thread) {
      if (task >= num_tiles) return PackB(next, task - num_tiles, thread);
      const int64_t row_panel = task / col_tiles, col_tile = task % col_tiles;
      MultiplyPanel(step, c.rows * row_panel / row_panels, c.rows * (row_panel + 1) / row_panels,
                    col_panels * col_tile / col_tiles * kernels_.tile_cols,
                    std::min(col_panels * (col_tile + 1) / col_tiles * kernels_.tile_cols,
                             step.end_col - step.begin_col),
                    a_panels_.data() + thread_floats * thread);
    });
    step = next;
  }
}

}  // namespace cadre
