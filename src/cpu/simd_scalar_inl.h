// "Vectors" of 8 floats and 32 bytes in plain C++, under the names that every simd_*_inl.h gives:
// what runs on a machine without AVX2, and the portable form of the others. MulAdd rounds twice
// here: without the instruction a fused one is a slow call.
#pragma once

#include <stddef.h>

#include <cstdint>

#include "tensor/float16.h"

#define CADRE_ISA scalar

namespace cadre::scalar {
namespace {

constexpr int64_t kLanes = 8;
constexpr const char* kIsaName = "scalar";
struct VecF {
  float lane[kLanes];
};
// Register tiles of this ISA: accumulators of a dot product (rows x tokens), score vectors of four
// heads.
constexpr int kTileRows = 2;
constexpr int kFloatTileTokens = 2;
constexpr int kByteTileTokens = 2;
constexpr int kHeadVecs = 1;

inline VecF Broadcast(float x) { return {{x, x, x, x, x, x, x, x}}; }
inline VecF Zero() { return Broadcast(0.0f); }
// Any alignment everywhere. ...N: the first n lanes, 0 <= n <= kLanes; loads give 0 in the others,
// stores leave them alone.
inline VecF LoadF32N(const void* p, int64_t n) {
  VecF x = {};
  __builtin_memcpy(x.lane, p, static_cast<size_t>(n) * 4);
  return x;
}
inline VecF LoadF32(const void* p) { return LoadF32N(p, kLanes); }
inline void StoreF32N(float* p, VecF x, int64_t n) {
  __builtin_memcpy(p, x.lane, static_cast<size_t>(n) * 4);
}
inline void StoreF32(float* p, VecF x) { StoreF32N(p, x, kLanes); }

template <typename Half>
inline VecF LoadHalves(const void* p, int64_t n) {
  Half halves[kLanes] = {};
  __builtin_memcpy(halves, p, static_cast<size_t>(n) * 2);
  VecF x;
  for (int i = 0; i < kLanes; ++i) x.lane[i] = ToFloat(halves[i]);
  return x;
}
inline VecF LoadF16N(const void* p, int64_t n) { return LoadHalves<F16>(p, n); }
inline VecF LoadBF16N(const void* p, int64_t n) { return LoadHalves<BF16>(p, n); }
inline VecF LoadI8N(const void* p, int64_t n) {
  VecF x = {};
  for (int64_t i = 0; i < n; ++i) x.lane[i] = static_cast<float>(static_cast<const int8_t*>(p)[i]);
  return x;
}
inline VecF LoadF16(const void* p) { return LoadF16N(p, kLanes); }
inline VecF LoadBF16(const void* p) { return LoadBF16N(p, kLanes); }
inline VecF LoadI8(const void* p) { return LoadI8N(p, kLanes); }

inline float OneF16(const void* p) {
  F16 half;
  __builtin_memcpy(&half, p, sizeof half);
  return ToFloat(half);
}

template <typename Operation>
inline VecF Lanewise(VecF a, VecF b, Operation operation) {
  VecF x;
  for (int i = 0; i < kLanes; ++i) x.lane[i] = operation(a.lane[i], b.lane[i]);
  return x;
}
inline VecF Add(VecF a, VecF b) {
  return Lanewise(a, b, [](float x, float y) { return x + y; });
}
inline VecF Sub(VecF a, VecF b) {
  return Lanewise(a, b, [](float x, float y) { return x - y; });
}
inline VecF Mul(VecF a, VecF b) {
  return Lanewise(a, b, [](float x, float y) { return x * y; });
}
inline VecF Div(VecF a, VecF b) {
  return Lanewise(a, b, [](float x, float y) { return x / y; });
}
// The second operand where either is NaN.
inline VecF Max(VecF a, VecF b) {
  return Lanewise(a, b, [](float x, float y) { return x > y ? x : y; });
}
inline VecF Min(VecF a, VecF b) {
  return Lanewise(a, b, [](float x, float y) { return x < y ? x : y; });
}
inline VecF MulAdd(VecF a, VecF b, VecF c) { return Add(Mul(a, b), c); }     // a * b + c
inline VecF NegMulAdd(VecF a, VecF b, VecF c) { return Sub(c, Mul(a, b)); }  // c - a * b

// Lanes [begin, end) of x, `other` elsewhere; begin and end may lie outside [0, kLanes].
inline VecF KeepLanes(VecF x, int64_t begin, int64_t end, float other) {
  for (int i = 0; i < kLanes; ++i) {
    if (i < begin || i >= end) x.lane[i] = other;
  }
  return x;
}

// One fixed tree.
inline float SumLanes(VecF x) {
  const float* v = x.lane;
  return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]));
}
// out[i] = SumLanes(x[i]) for four vectors.
inline void SumLanesOf4(const VecF* x, float* out) {
  for (int i = 0; i < 4; ++i) out[i] = SumLanes(x[i]);
}
// NaN lanes may be lost.
inline float MaxLanes(VecF x) {
  float most = x.lane[0];
  for (int i = 1; i < kLanes; ++i) most = most > x.lane[i] ? most : x.lane[i];
  return most;
}

// The nearest integer, ties to even, of |x| < 2^22; anything for others.
inline int32_t NearestInt(float x) {
  const float magic = 0x1.8p23f;
  return static_cast<int32_t>(std::bit_cast<uint32_t>(x + magic) - std::bit_cast<uint32_t>(magic));
}
// 2^n for n in [-126, 127].
inline float PowerOfTwo(int32_t n) {
  return std::bit_cast<float>(static_cast<uint32_t>(n + 127) << 23);
}

inline float ExpOfOne(float x) {
  if (x < -87.33f) return 0.0f;
  if (x > 88.72283f) return __builtin_inff();
  if (!(x == x)) return x;
  const int32_t n = NearestInt(x * 1.44269504f);
  const auto nf = static_cast<float>(n);
  const float r = (x - nf * 0.693359375f) - nf * -2.12194440e-4f;
  float p = 1.0f / 5040;
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  const int32_t half = n >> 1;  // in two steps: 2^128 is no float
  return p * PowerOfTwo(half) * PowerOfTwo(n - half);
}
// e^x: relative error below 2^-22 where the result is normal, 0 below -87.33, infinity above 88.72,
// NaN for NaN; Exp(0) = 1.
inline VecF Exp(VecF x) {
  for (float& lane : x.lane) lane = ExpOfOne(lane);
  return x;
}

// Rounding to nearest even into 16 bits each.
inline void StoreAsF16N(void* p, VecF x, int64_t n) {
  F16 halves[kLanes];
  for (int i = 0; i < kLanes; ++i) halves[i] = ToF16(x.lane[i]);
  __builtin_memcpy(p, halves, static_cast<size_t>(n) * 2);
}
inline void StoreAsBF16N(void* p, VecF x, int64_t n) {
  BF16 halves[kLanes];
  for (int i = 0; i < kLanes; ++i) halves[i] = ToBF16(x.lane[i]);
  __builtin_memcpy(p, halves, static_cast<size_t>(n) * 2);
}

// The largest magnitude of n floats; NaN if one is NaN.
inline float MaxMagnitude(const float* p, int64_t n) {
  uint32_t most = 0;
  for (int64_t i = 0; i < n; ++i) {
    const uint32_t magnitude = std::bit_cast<uint32_t>(p[i]) & 0x7fffffff;
    most = magnitude > most ? magnitude : most;
  }
  return std::bit_cast<float>(most);
}

// Bytes.
constexpr int64_t kByteLanes = 32;  // lane i of the sums adds bytes [4i, 4i + 4)
struct Bytes {
  int8_t byte[kByteLanes];
};
using WeightBytes = Bytes;
using TokenBytes = Bytes;  // values in [-127, 127]
inline WeightBytes LoadWeightBytes(const int8_t* p) {
  Bytes bytes;
  __builtin_memcpy(bytes.byte, p, sizeof bytes.byte);
  return bytes;
}
inline TokenBytes LoadTokenBytes(const int8_t* p) { return LoadWeightBytes(p); }
inline VecF DotBytes(const WeightBytes& w, const TokenBytes& a) {
  VecF sums;
  for (int i = 0; i < kLanes; ++i) {
    int32_t sum = 0;
    for (int j = 0; j < 4; ++j) sum += w.byte[4 * i + j] * a.byte[4 * i + j];
    sums.lane[i] = static_cast<float>(sum);
  }
  return sums;
}
// x * factor rounded to nearest even, as bytes; |x * factor| <= 127.
inline void StoreAsI8N(int8_t* p, VecF x, float factor, int64_t n) {
  for (int64_t i = 0; i < n; ++i) p[i] = static_cast<int8_t>(NearestInt(x.lane[i] * factor));
}

inline double IntegerRounds(int64_t rounds) {
  int32_t sums[8] = {};
  int32_t byte = 1;
  for (int64_t i = 0; i < rounds; ++i) {
    asm volatile("" : "+r"(byte));
    for (auto& sum : sums) sum += byte * byte;
  }
  for (auto& sum : sums) asm volatile("" : "+r"(sum));
  return static_cast<double>(rounds) * 8 * 2;
}
constexpr double (*kBf16Rounds)(int64_t) = nullptr;
constexpr int kPeakSums = 4;  // vectors that the registers hold, of FloatRounds

}  // namespace
}  // namespace cadre::scalar
