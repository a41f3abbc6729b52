// Parts of a stored weight as float32, for products that read it once: each thread decodes what it
// is about to pack into scratch of its own, which stays in the cache.
#pragma once

#include <cstdint>

#include "base/thread_pool.h"
#include "cpu/kernels.h"
#include "cpu/matmul.h"
#include "tensor/buffer.h"
#include "tensor/mat.h"
#include "tensor/weight.h"

namespace cadre {

class RowDecoder {
 public:
  // Of one part: whole blocks of every type, and as many rows as a thread has room for.
  static constexpr int64_t kCols = 256;
  static constexpr int64_t kRows = 64;

  RowDecoder(const KernelTable& kernels, ThreadPool& threads)
      : kernels_(kernels), threads_(threads) {}

  // Room for all threads; not while any decodes.
  void Reserve();

  // Rows [row, row + rows) in columns [col, col + cols): as [rows, cols], valid until the thread's
  // next ones. col and col + cols: where blocks end.
  Mat<const float> Decode(const Weight& w, int64_t row, int64_t rows, int64_t col, int64_t cols,
                          int thread);

 private:
  const KernelTable& kernels_;
  ThreadPool& threads_;
  ByteRowsBuffer unpacked_;
  ByteRows unpacked_rows_{};  // a row of kCols for each thread
  Buffer<float> decoded_;     // kRows of kCols for each thread
};

}  // namespace cadre
