// The tile of training's matrix product and the packing of its factors, compiled once per
// instruction set. Before it come simd_X_inl.h and, from backward_kernels_X.cc, kGemmRows,
// kGemmVecs (the tile of C in registers) and TransposeLanes.
#pragma once

#include "cpu/backward_kernels.h"

namespace cadre::CADRE_ISA {
namespace {

constexpr int64_t kGemmCols = kGemmVecs * kLanes;

inline VecF LoadUpTo(const float* p, int64_t n) {
  return n >= kLanes ? LoadF32(p) : LoadF32N(p, n);
}
inline void StoreUpTo(float* p, VecF x, int64_t n) {
  if (n >= kLanes) {
    StoreF32(p, x);
  } else {
    StoreF32N(p, x, n);
  }
}

// The lanes of vector v of a tile row that lie within `cols`.
inline int64_t LanesOf(int64_t v, int64_t cols) {
  const int64_t left = cols - v * kLanes;
  return left < 0 ? 0 : left > kLanes ? kLanes : left;
}

// A in rows is read where it lies: two base addresses and a few multiples of the stride reach every
// row without a register each.
template <int kRows, bool kWhole, bool kAInRows>
__attribute__((noinline)) void MultiplyTile(const ProductTile& t) {
  constexpr int kHalf = (kRows + 1) / 2;
  const int64_t k = t.k, a_stride = t.a_stride, b_stride = t.b_stride, c_stride = t.c_stride;
  const bool add = t.add;
  const float *a = t.a, *b = t.b;
  float* c = t.c;
  const float* a_high = a + kHalf * a_stride;
  VecF sums[kRows][kGemmVecs];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kGemmVecs; ++v) {
      __builtin_prefetch(c + r * c_stride + v * kLanes, 1);
      sums[r][v] = Zero();
    }
  }
  for (int64_t i = 0; i < k; ++i, b += b_stride) {
    VecF row_of_b[kGemmVecs];
#pragma GCC unroll 4
    for (int v = 0; v < kGemmVecs; ++v) {
      row_of_b[v] = kWhole ? LoadF32(b + v * kLanes) : LoadF32N(b + v * kLanes, LanesOf(v, t.cols));
    }
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const float* in_row = r < kHalf ? a + r * a_stride : a_high + (r - kHalf) * a_stride;
      const VecF factor = Broadcast(kAInRows ? *in_row : a[r]);
#pragma GCC unroll 4
      for (int v = 0; v < kGemmVecs; ++v) sums[r][v] = MulAdd(factor, row_of_b[v], sums[r][v]);
    }
    a += kAInRows ? 1 : a_stride;
    ++a_high;
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kGemmVecs; ++v) {
      float* to = c + r * c_stride + v * kLanes;
      const int64_t lanes = kWhole ? kLanes : LanesOf(v, t.cols);
      const VecF sum =
          add ? Add(kWhole ? LoadF32(to) : LoadF32N(to, lanes), sums[r][v]) : sums[r][v];
      if (kWhole) {
        StoreF32(to, sum);
      } else {
        StoreF32N(to, sum, lanes);
      }
    }
  }
}

template <int kRows, bool kAInRows>
void MultiplyRows(const ProductTile& tile) {
  if constexpr (kRows > 1) {
    if (tile.rows < kRows) return MultiplyRows<kRows - 1, kAInRows>(tile);
  }
  if (tile.cols == kGemmCols) {
    MultiplyTile<kRows, true, kAInRows>(tile);
  } else {
    MultiplyTile<kRows, false, kAInRows>(tile);
  }
}

void Multiply(const ProductTile& tile) {
  if (tile.a_in_rows) {
    MultiplyRows<kGemmRows, true>(tile);
  } else {
    MultiplyRows<kGemmRows, false>(tile);
  }
}

void PackRows(int64_t width, int64_t k, const float* from, int64_t stride, float* to,
              int64_t to_stride) {
  for (int64_t j = 0; j < to_stride; j += kLanes) {
    const int64_t lanes = LanesOf(0, width - j);
    if (lanes == kLanes) {
      for (int64_t i = 0; i < k; ++i)
        StoreF32(to + i * to_stride + j, LoadF32(from + i * stride + j));
    } else {
      for (int64_t i = 0; i < k; ++i)
        StoreF32(to + i * to_stride + j, LoadF32N(from + i * stride + j, lanes));
    }
  }
}

void PackColumns(int64_t width, int64_t k, const float* from, int64_t stride, float* to,
                 int64_t to_stride) {
  for (int64_t j = 0; j < to_stride; j += kLanes) {
    const int64_t num_columns = LanesOf(0, width - j);
    for (int64_t i = 0; i < k; i += kLanes) {
      VecF block[kLanes];
      for (int64_t c = 0; c < kLanes; ++c) {
        block[c] = c < num_columns ? LoadUpTo(from + (j + c) * stride + i, k - i) : Zero();
      }
      TransposeLanes(block);
      const int64_t num_rows = LanesOf(0, k - i);
      for (int64_t r = 0; r < num_rows; ++r) StoreF32(to + (i + r) * to_stride + j, block[r]);
    }
  }
}

}  // namespace
}  // namespace cadre::CADRE_ISA
