// The kernels of one instruction set: the rest of them, and the table. Include after a
// simd_*_inl.h, once per kernels_*.cc.
#pragma once

#include "cpu/attention_inl.h"
#include "cpu/dots_inl.h"

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

inline uint64_t ReadAll(const std::byte* bytes, int64_t count) {
  uint64_t sums[8] = {};
  for (int64_t i = 0; i < count; i += 64) {
    uint64_t words[8];
    __builtin_memcpy(words, bytes + i, 64);
    for (int j = 0; j < 8; ++j) sums[j] ^= words[j];
  }
  uint64_t all = 0;
  for (const uint64_t sum : sums) all ^= sum;
  return all;
}

constexpr KernelTable kTable = {
    .name = kIsaName,
    .peak = {.integer = IntegerRounds, .bf16 = kBf16Rounds, .matrix = nullptr, .read = ReadAll},
    .panels = kPanelKernels,
    .rows = kRowKernels,
    .decode_row = DecodeRow,
    .float_dots = RunFloatDots,
    .attend = Attend,
    .store_kv = StoreKv,
    .rms_norm = RmsNorm,
    .rotate = Rotate,
    .add = AddRows,
    .swiglu = SwiGlu,
    .add_scaled = AddScaled,
};

}  // namespace
}  // namespace cadre::CADRE_ISA
