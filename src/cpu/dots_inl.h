// Matrix products as register tiles of dot products. Vectors run along K; every tile shape adds a
// row's products in the same lanes in the same order and reduces them by the same tree, so the
// shape cannot show in the bits. Include after unpack_inl.h.
#pragma once

#include "cpu/unpack_inl.h"

namespace cadre::CADRE_ISA {
namespace {

// One token's sums over R weight rows.
template <int R>
inline void StoreSums(const VecF (&sums)[R], float* out) {
  if constexpr (R == 4) {
    SumLanesOf4(sums, out);
  } else {
    for (int r = 0; r < R; ++r) out[r] = SumLanes(sums[r]);
  }
}

// R weight rows times T token rows of floats.
struct FloatTile {
  using Args = FloatDots;
  static constexpr int kTokens = kFloatTileTokens;

  template <int R, int T>
  static inline void Run(const Args& a, int64_t row, int64_t token) {
    const std::byte* w = a.weights + row * a.row_bytes;
    const float* x = a.x + token * a.x_stride;
    VecF sums[T][R];
    for (int r = 0; r < R; ++r) {
      for (int t = 0; t < T; ++t) sums[t][r] = Zero();
    }
    int64_t k = 0;
    for (; k + kLanes <= a.cols; k += kLanes) {
      VecF weights[R];
      for (int r = 0; r < R; ++r) weights[r] = LoadF32(w + r * a.row_bytes + 4 * k);
      for (int t = 0; t < T; ++t) {
        const VecF values = LoadF32(x + t * a.x_stride + k);
        for (int r = 0; r < R; ++r) sums[t][r] = MulAdd(weights[r], values, sums[t][r]);
      }
    }
    if (k < a.cols) {
      const int64_t n = a.cols - k;
      for (int t = 0; t < T; ++t) {
        const VecF values = LoadF32N(x + t * a.x_stride + k, n);
        for (int r = 0; r < R; ++r) {
          sums[t][r] = MulAdd(LoadF32N(w + r * a.row_bytes + 4 * k, n), values, sums[t][r]);
        }
      }
    }
    for (int t = 0; t < T; ++t) StoreSums(sums[t], a.out + (token + t) * a.out_stride + row);
  }
};

template <typename Tile, int T>
inline void RunRows(const typename Tile::Args& args, int64_t token) {
  constexpr int kRows =
      T == 1
          ? 4
          : kTileRows;  // one token leaves registers for more rows, and needs them to hide latency
  int64_t row = 0;
  for (; row + kRows <= args.rows; row += kRows) Tile::template Run<kRows, T>(args, row, token);
  for (; row < args.rows; ++row) Tile::template Run<1, T>(args, row, token);
}

template <typename Tile>
inline void RunTiles(const typename Tile::Args& args) {
  int64_t token = 0;
  for (; token + Tile::kTokens <= args.tokens; token += Tile::kTokens)
    RunRows<Tile, Tile::kTokens>(args, token);
  for (; token + 2 <= args.tokens; token += 2) RunRows<Tile, 2>(args, token);
  if (token < args.tokens) RunRows<Tile, 1>(args, token);
}

inline void RunFloatDots(const FloatDots& dots) { RunTiles<FloatTile>(dots); }

}  // namespace
}  // namespace cadre::CADRE_ISA
