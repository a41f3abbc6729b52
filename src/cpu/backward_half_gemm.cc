#include "cpu/backward_half_gemm.h"

#include <algorithm>

namespace cadre {
namespace {

constexpr int64_t kBlockDepth = 64;  // columns of a block that is turned

float Convert(float value, float*) { return value; }
BF16 Convert(float value, BF16*) { return ToBF16(value); }

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

// Block by block, so that what is written to a row is whole cache lines.
template <typename T>
void HalfGemm::Turn(Mat<const float> from, Buffer<T>& to) {
  to.Reserve(from.rows * from.cols);
  const int64_t width = kernels_.tile_cols, row_blocks = CeilDiv(from.rows, width);
  blocks_.Reserve(threads_.num_threads() * kBlockDepth * width);
  threads_.ParallelFor(CeilDiv(from.cols, kBlockDepth), [&](int64_t task, int thread) {
    const int64_t col = task * kBlockDepth, depth = std::min(kBlockDepth, from.cols - col);
    float* block = blocks_.data() + thread * kBlockDepth * width;
    for (int64_t b = 0; b < row_blocks; ++b) {
      const int64_t row = b * width, rows = std::min(width, from.rows - row);
      kernels_.pack_columns(rows, depth, from.row(row) + col, from.stride, block, width);
      for (int64_t i = 0; i < depth; ++i) {
        T* out = to.data() + (col + i) * from.rows + row;
        for (int64_t j = 0; j < rows; ++j) out[j] = Convert(block[i * width + j], out);
      }
    }
  });
}

void HalfGemm::Product(Factor a, Mat<const float> b, Into into, Mat<float> c) {
  CADRE_CHECK(a.rows() == c.rows && b.cols == c.cols && a.cols() == b.rows);
  if (c.empty()) return;
  if (b.rows == 0) {
    for (int64_t r = 0; r < c.rows && into == Into::kFresh; ++r)
      std::fill_n(c.row(r), c.cols, 0.0f);
    return;
  }
  Mat<const float> rows = a.mat;
  if (a.transposed) {
    Turn(a.mat, turned_a_);
    rows = {turned_a_.data(), a.rows(), a.cols(), a.cols()};
  }
  Turn(b, turned_b_);
  Weight columns = {reinterpret_cast<const std::byte*>(turned_b_.data()), DType::kBF16, b.cols,
                    b.rows};
  if (const int64_t bytes = products_.PackedBytes(columns); bytes > 0) {
    packed_b_.Reserve(bytes);
    products_.Pack(columns, packed_b_.data());
    columns.packed = packed_b_.data();
  }
  if (into == Into::kFresh) return products_.Run(rows, columns, ActivationType::kRounded, c);
  product_.Reserve(c.rows * c.cols);
  const Mat<float> product = product_.AsMat(c.rows, c.cols);
  products_.Run(rows, columns, ActivationType::kRounded, product);
  threads_.ParallelFor(
      c.rows, [&](int64_t row, int) { kernels_.add(c.cols, product.row(row), c.row(row)); });
}

}  // namespace cadre
