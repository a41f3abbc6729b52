// The kernels of one instruction set: the rest of them, and the table. Include after a
// simd_*_inl.h, once per kernels_*.cc.
#pragma once

#include "cpu/attention_shared_inl.h"
#include "cpu/dots_inl.h"
#include "cpu/store_kv_inl.h"

namespace cadre::CADRE_ISA {
namespace {

// Calls operation(i, n) for the vectors of a row of `cols`: n lanes from i on.
template <typename Operation>
inline void ForVectors(int64_t cols, const Operation& operation) {
  for (int64_t i = 0; i < cols; i += kLanes) operation(i, cols - i < kLanes ? cols - i : kLanes);
}

inline void RmsNorm(const float* x, const float* weight, float eps, int64_t cols, float* out) {
  VecF squares = Zero();
  ForVectors(cols, [&](int64_t i, int64_t n) {
    const VecF v = LoadF32N(x + i, n);
    squares = MulAdd(v, v, squares);
  });
  const float scale = 1 / __builtin_sqrtf(SumLanes(squares) / static_cast<float>(cols) + eps);
  ForVectors(cols, [&](int64_t i, int64_t n) {
    StoreF32N(out + i, Mul(Mul(LoadF32N(x + i, n), Broadcast(scale)), LoadF32N(weight + i, n)), n);
  });
}

inline void Rotate(float* x, int64_t heads, int64_t head_dim, const float* cosines,
                   const float* sines, bool interleaved) {
  const int64_t half = head_dim / 2;
  for (float* head = x; head < x + heads * head_dim; head += head_dim) {
    if (interleaved) {
      float pairs[kMaxHeadDim];
      __builtin_memcpy(pairs, head, static_cast<size_t>(head_dim) * 4);
      for (int64_t i = 0; i < half; ++i) {
        head[i] = pairs[2 * i];
        head[i + half] = pairs[2 * i + 1];
      }
    }
    for (int64_t i = 0; i < half; ++i) {
      const float a = head[i];
      const float b = head[i + half];
      head[i] = a * cosines[i] - b * sines[i];
      head[i + half] = b * cosines[i] + a * sines[i];
    }
  }
}

inline void AddRows(const float* x, const float* y, int64_t cols, float* out) {
  ForVectors(cols, [&](int64_t i, int64_t n) {
    StoreF32N(out + i, Add(LoadF32N(x + i, n), LoadF32N(y + i, n)), n);
  });
}

inline void SwiGlu(const float* gate, const float* up, int64_t cols, float* out) {
  ForVectors(cols, [&](int64_t i, int64_t n) {
    const VecF g = LoadF32N(gate + i, n);
    const VecF silu = Div(g, Add(Broadcast(1.0f), Exp(Sub(Zero(), g))));
    StoreF32N(out + i, Mul(silu, LoadF32N(up + i, n)), n);
  });
}

inline void AddScaled(const float* row, float gate, int64_t cols, float* out) {
  ForVectors(cols, [&](int64_t i, int64_t n) {
    StoreF32N(out + i, MulAdd(Broadcast(gate), LoadF32N(row + i, n), LoadF32N(out + i, n)), n);
  });
}

inline void RoundBF16(const float* x, int64_t cols, float* out) {
  ForVectors(cols, [&](int64_t i, int64_t n) {
    std::byte halves[2 * kLanes];
    StoreAsBF16N(halves, LoadF32N(x + i, n), n);
    StoreF32N(out + i, LoadBF16N(halves, n), n);
  });
}

// One sum of plain words: compilers make vectors of it, as wide as the instruction set has them.
inline uint64_t ReadAll(const std::byte* bytes, int64_t count) {
  uint64_t sum = 0;
  for (int64_t i = 0; i < count; i += 8) {
    uint64_t word;
    __builtin_memcpy(&word, bytes + i, 8);
    sum ^= word;
  }
  return sum;
}

// Sums that do not wait for each other, in each round; they stay near one.
inline double FloatRounds(int64_t rounds) {
  VecF sums[kPeakSums];
  for (VecF& sum : sums) sum = Zero();
  const VecF half = Broadcast(0.5f);
  for (int64_t i = 0; i < rounds; ++i) {
    for (VecF& sum : sums) sum = MulAdd(sum, half, half);
  }
  for (const VecF& sum : sums) asm volatile("" ::"m"(sum));
  return static_cast<double>(rounds) * kPeakSums * kLanes * 2;
}

constexpr KernelTable kTable = {
    .name = kIsaName,
    .peak = {.integer = IntegerRounds,
             .float32 = FloatRounds,
             .bf16 = kBf16Rounds,
             .matrix = nullptr,
             .read = ReadAll},
    .panels = kPanelKernels,
    .rows = kRowKernels,
    .decode_row = DecodeRow,
    .round_bf16 = RoundBF16,
    .float_dots = RunFloatDots,
    .attend = Attend,
    .merge_attention = MergeSums,
    .finish_attention = FinishSums,
    .store_kv = StoreKv,
    .rms_norm = RmsNorm,
    .rotate = Rotate,
    .add = AddRows,
    .swiglu = SwiGlu,
    .add_scaled = AddScaled,
};

}  // namespace
}  // namespace cadre::CADRE_ISA
