// The matrix product of training in mixed precision: C = op(A) B, or C += that, the factors rounded
// to BF16, sums in float32. The forward's products do the work (cpu/matmul.h), on AMX where there
// is one; here factors are turned so that rows meet rows. An element of C is a bit-exact function
// of its row of op(A) and its column of B.
#pragma once

#include "base/thread_pool.h"
#include "cpu/backward_gemm.h"
#include "cpu/matmul.h"

namespace cadre {

class HalfGemm {
 public:
  HalfGemm(const BackwardKernels& kernels, const KernelTable& products, ThreadPool& threads)
      : kernels_(kernels), threads_(threads), products_(products, threads) {}

  // c [M, N] = (or +=) a [M, K] b [K, N]. Allocates only when its scratch has to grow.
  void Product(Factor a, Mat<const float> b, Into into, Mat<float> c);

 private:
  // to [cols, rows] = `from` [rows, cols] turned, each value as T.
  template <typename T>
  void Turn(Mat<const float> from, Buffer<T>& to);

  const BackwardKernels& kernels_;
  ThreadPool& threads_;
  MatMulRunner products_;
  Buffer<float> turned_a_;
  Buffer<BF16> turned_b_;
  Buffer<std::byte> packed_b_;
  Buffer<float> blocks_;   // each thread's
  Buffer<float> product_;  // what is added to C
};

}  // namespace cadre
