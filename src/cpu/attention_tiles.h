// What training's attention and its gradient share: the sequences of a step, and small products on
// one thread whose factors need not be packed.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/backward_kernels.h"
#include "ops/kv_view.h"
#include "tensor/buffer.h"
#include "tensor/mat.h"

namespace cadre {

// The rows [begin, begin + length) of a step: one sequence from position 0.
struct SequenceRows {
  int64_t begin = 0;
  int64_t length = 0;
};

// Of `num_rows` rows; checks that each sequence is whole and in order.
std::vector<SequenceRows> FindSequences(const KvBatch& batch, int64_t num_rows);

// Element (r, i) at data[r * stride + i], or, where it lies in columns, at data[i * stride + r].
struct LeftFactor {
  const float* data = nullptr;
  int64_t stride = 0;
  bool in_rows = true;
};

// Element (i, n) at data[n / tile_cols * panel + i * stride + n % tile_cols].
struct RightFactor {
  const float* data = nullptr;
  int64_t stride = 0;
  int64_t panel = 0;
};

// A matrix as it lies, rows `stride` apart.
inline RightFactor AsItLies(const BackwardKernels& kernels, const float* data, int64_t stride) {
  return {data, stride, kernels.tile_cols};
}

// Floats of a packed right factor, and the packing of the transpose of `from` [cols, k].
int64_t PackedFloats(const BackwardKernels& kernels, int64_t k, int64_t cols);
RightFactor PackTransposed(const BackwardKernels& kernels, Mat<const float> from, float* to);

// c [rows, cols] = (with `add`: +=) a [rows, k] b [k, cols].
void MultiplyTiles(const BackwardKernels& kernels, const LeftFactor& a, const RightFactor& b,
                   int64_t k, bool add, Mat<float> c);

}  // namespace cadre
