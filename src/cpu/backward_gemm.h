// The float32 matrix product of training: C = op(A) op(B), or C += that. Panels of B, and of A
// where it does not lie well, are packed into scratch; an outer-product kernel keeps a tile of C in
// registers. Parallel over tiles of C only,
// and the sum runs in ascending blocks of fixed length: an element of C is a bit-exact function of
// its row of op(A) and its column of op(B), whatever the number of threads or the shape.
#pragma once

#include <cstdint>

#include "base/thread_pool.h"
#include "cpu/backward_kernels.h"
#include "ops/backward.h"
#include "tensor/buffer.h"
#include "tensor/mat.h"

namespace cadre {

// A matrix as a factor: as it lies, or transposed.
struct Factor {
  Mat<const float> mat;
  bool transposed = false;

  int64_t rows() const { return transposed ? mat.cols : mat.rows; }
  int64_t cols() const { return transposed ? mat.rows : mat.cols; }
  // Where the element (row, col) lies.
  const float* at(int64_t row, int64_t col) const {
    return transposed ? mat.data + col * mat.stride + row : mat.data + row * mat.stride + col;
  }
};

class Gemm {
 public:
  // Where sums over a product's inner dimension are cut.
  static constexpr int64_t kDepth = 256;

  Gemm(const BackwardKernels& kernels, ThreadPool& threads)
      : kernels_(kernels), threads_(threads) {}

  // c [M, N] = (or +=) a [M, K] b [K, N]. Uses the pool's threads; allocates only when its scratch
  // has to grow.
  void Product(Factor a, Factor b, Into into, Mat<float> c);

 private:
  struct Step;
  void PackB(const Step& step, int64_t panel);
  void PackA(const Step& step, int64_t row, int64_t end_row, float* panel);
  void MultiplyPanel(const Step& step, int64_t row, int64_t end_row, int64_t begin_col,
                     int64_t end_col, float* a_panel);

  const BackwardKernels& kernels_;
  ThreadPool& threads_;
  Buffer<float> b_block_;   // two of them: one in use, one being packed for the next step
  Buffer<float> a_panels_;  // one for each thread
};

}  // namespace cadre
