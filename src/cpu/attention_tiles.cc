#include "cpu/attention_tiles.h"

#include <algorithm>

namespace cadre {
namespace {

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

std::vector<SequenceRows> FindSequences(const KvBatch& batch, int64_t num_rows) {
  CADRE_CHECK(std::ssize(batch.positions) == num_rows &&
              std::ssize(batch.sequence_of_row) == num_rows);
  std::vector<SequenceRows> sequences;
  for (int64_t t = 0; t < num_rows; ++t) {
    const auto row = static_cast<size_t>(t);
    const bool begins = batch.positions[row] == 0;
    if (begins) sequences.push_back({t, 0});
    CADRE_CHECK(!sequences.empty() && batch.positions[row] == sequences.back().length++);
    CADRE_CHECK(begins || batch.sequence_of_row[row] == batch.sequence_of_row[row - 1]);
  }
  return sequences;
}

int64_t PackedFloats(const BackwardKernels& kernels, int64_t k, int64_t cols) {
  return CeilDiv(cols, kernels.tile_cols) * kernels.tile_cols * k;
}

RightFactor PackTransposed(const BackwardKernels& kernels, Mat<const float> from, float* to) {
  const int64_t tile = kernels.tile_cols, k = from.cols;
  for (int64_t col = 0; col < from.rows; col += tile) {
    kernels.pack_columns(std::min(tile, from.rows - col), k, from.row(col), from.stride,
                         to + col * k, tile);
  }
  return {to, tile, k * tile};
}

void MultiplyTiles(const BackwardKernels& kernels, const LeftFactor& a, const RightFactor& b,
                   int64_t k, bool add, Mat<float> c) {
  const int64_t tile = kernels.tile_cols, num_panels = CeilDiv(c.rows, kernels.tile_rows);
  for (int64_t p = 0; p < num_panels; ++p) {
    const int64_t row = c.rows * p / num_panels, height = c.rows * (p + 1) / num_panels - row;
    for (int64_t col = 0; col < c.cols; col += tile) {
      kernels.multiply({.rows = height,
                        .cols = std::min(tile, c.cols - col),
                        .k = k,
                        .a = a.data + (a.in_rows ? row * a.stride : row),
                        .a_stride = a.stride,
                        .a_in_rows = a.in_rows,
                        .b = b.data + col / tile * b.panel,
                        .b_stride = b.stride,
                        .c = c.row(row) + col,
                        .c_stride = c.stride,
                        .add = add});
    }
  }
}

}  // namespace cadre
