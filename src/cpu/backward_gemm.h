// The float32 matrix product of training: C = op(A) op(B), or C += that. Panels of B, and of A
// where it does not lie well, are packed into scratch; an outer-product kernel keeps a tile of C in
// registers. Parallel over tiles of C only,
// and the sum runs in ascending blocks of fixed length: an element of C is a bit-exact function of
// its row of op(A) and its column of op(B), whatever the number of threads or the shape.
#pragma once

#include <cstdint>

#include "base/thread_pool.h"
#include "cpu/backward_kernels.h"
#include "cpu/row_decoder.h"
#include "ops/backward.h"
#include "tensor/buffer.h"
#include "tensor/mat.h"

namespace cadre {

// A matrix as a factor: as it lies, or transposed.
struct Factor {
  Mat<const float> mat;
  bool transposed = false;
  const Weight* stored =
      nullptr;  // not null: the matrix is this one, of any type, and mat its shape

  // What is added to `w` is left out.
  static Factor Of(const Weight& w, bool transposed) {
    const bool as_it_lies =
        w.type == DType::kF32 && reinterpret_cast<uintptr_t>(w.data) % alignof(float) == 0;
    if (!as_it_lies) return {{nullptr, w.rows, w.cols}, transposed, &w};
    return {{reinterpret_cast<const float*>(w.data), w.rows, w.cols}, transposed};
  }

  int64_t rows() const { return transposed ? mat.cols : mat.rows; }
  int64_t cols() const { return transposed ? mat.rows : mat.cols; }
  // Where the element (row, col) lies; not of a stored one.
  const float* at(int64_t row, int64_t col) const {
    return transposed ? mat.data + col * mat.stride + row : mat.data + row * mat.stride + col;
  }
};

class Gemm {
 public:
  // Where sums over a product's inner dimension are cut.
  static constexpr int64_t kDepth = 256;

  Gemm(const BackwardKernels& kernels, const KernelTable& forward_kernels, ThreadPool& threads)
      : kernels_(kernels), threads_(threads), decoder_(forward_kernels, threads) {}

  // c [M, N] = (or +=) a [M, K] b [K, N]; b alone may be stored, and is then decoded as it is
  // packed. Uses the pool's threads; allocates only when its scratch has to grow.
  void Product(Factor a, Factor b, Into into, Mat<float> c);

 private:
  struct Step;
  // Tasks of PackB: a panel each, or the panels of RowDecoder::kCols columns of a stored matrix as
  // it lies.
  int64_t NumPacks(const Step& step) const;
  void PackB(const Step& step, int64_t index, int thread);
  void PackPanel(const Step& step, int64_t panel);
  void PackStoredColumns(const Step& step, int64_t panel, int thread);
  void PackStoredRows(const Step& step, int64_t index, int thread);
  void PackA(const Step& step, int64_t row, int64_t end_row, float* panel);
  void MultiplyPanel(const Step& step, int64_t row, int64_t end_row, int64_t begin_col,
                     int64_t end_col, float* a_panel);

  const BackwardKernels& kernels_;
  ThreadPool& threads_;
  RowDecoder decoder_;
  Buffer<float> b_block_;   // two of them: one in use, one being packed for the next step
  Buffer<float> a_panels_;  // one for each thread
};

}  // namespace cadre
