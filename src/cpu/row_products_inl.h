// Products of quantised rows that are not packed: unpacked weights meet rounded activations, both
// as signed bytes with scales. Include before kernels_inl.h.
#pragma once

#include "cpu/dots_inl.h"

namespace cadre::CADRE_ISA {
namespace {

// Row r of `rows` from floats: groups of `group` values, a multiple of 32, rounded to nearest even
// at scale amax / 127, with the sums of sixteen rounded values each. A group that is not finite has
// a scale that is not, so that the sums show it.
inline void RoundRow(const float* x, int64_t cols, int64_t group, ByteRows rows, int64_t r) {
  for (int64_t begin = 0; begin < cols; begin += group) {
    int8_t* values = ValuesOf(rows, r) + begin;
    const float scale = MaxMagnitude(x + begin, group) / 127;
    const float inverse = 1 / scale;
    if (inverse > 0 && inverse < __builtin_inff()) {
      for (int64_t i = 0; i < group; i += kLanes)
        StoreAsI8N(values + i, LoadF32(x + begin + i), inverse, kLanes);
    } else {
      for (int64_t i = 0; i < group; ++i) values[i] = 0;
    }
    FillScales(ScalesOf(rows, r) + begin / 4, group / 4, scale);
    for (int64_t k = 0; k < group / 16; ++k) {
      int32_t sum = 0;
      for (int64_t i = 16 * k; i < 16 * k + 16; ++i) sum += values[i];
      OffsetsOf(rows, r)[begin / 16 + k] = scale * static_cast<float>(sum);
    }
  }
  ZeroTail(rows, r, cols);
}

// R weight rows times T token rows of bytes: an integer dot product per lane of four values, scaled
// by both scales.
struct ByteTile {
  using Args = ByteDots;
  static constexpr int kTokens = kByteTileTokens;

  template <int R, int T>
  static inline void Run(const Args& a, int64_t row, int64_t token) {
    const int8_t* w = ValuesOf(a.weights, row);
    const float* w_scales = ScalesOf(a.weights, row);
    const int8_t* x = ValuesOf(a.x, token);
    const float* x_scales = ScalesOf(a.x, token);
    const int64_t stride = a.x.stride;  // of both
    VecF sums[T][R];
    for (int r = 0; r < R; ++r) {
      for (int t = 0; t < T; ++t) sums[t][r] = Zero();
    }
    for (int64_t k = 0; k < stride; k += kByteLanes) {
      WeightBytes weights[R];
      VecF scales[R];
      for (int r = 0; r < R; ++r) {
        weights[r] = LoadWeightBytes(w + r * stride + k);
        scales[r] = LoadF32(w_scales + (r * stride + k) / 4);
      }
      for (int t = 0; t < T; ++t) {
        const TokenBytes values = LoadTokenBytes(x + t * stride + k);
        const VecF token_scales = LoadF32(x_scales + (t * stride + k) / 4);
        for (int r = 0; r < R; ++r) {
          sums[t][r] =
              MulAdd(DotBytes(weights[r], values), Mul(scales[r], token_scales), sums[t][r]);
        }
      }
    }
    if (a.has_offsets) SubtractOffsets<R, T>(a, row, token, sums);
    for (int t = 0; t < T; ++t) StoreSums(sums[t], a.out + (token + t) * a.out_stride + row);
  }

  // Weights are value * scale - offset: the offset meets the sum of the token's values.
  template <int R, int T>
  static inline void SubtractOffsets(const Args& a, int64_t row, int64_t token,
                                     VecF (&sums)[T][R]) {
    const int64_t count = a.x.offset_stride;
    const float* w = OffsetsOf(a.weights, row);
    const float* x = OffsetsOf(a.x, token);
    for (int64_t g = 0; g < count; g += kLanes) {
      for (int t = 0; t < T; ++t) {
        const VecF token_sums = LoadF32(x + t * count + g);
        for (int r = 0; r < R; ++r)
          sums[t][r] = NegMulAdd(LoadF32(w + r * count + g), token_sums, sums[t][r]);
      }
    }
  }
};

inline void RunByteDots(const ByteDots& dots) { RunTiles<ByteTile>(dots); }

constexpr const PanelKernels* kPanelKernels = nullptr;
constexpr RowKernels kRows = {.unpack = UnpackRow, .round = RoundRow, .dots = RunByteDots};
constexpr const RowKernels* kRowKernels = &kRows;

}  // namespace
}  // namespace cadre::CADRE_ISA
