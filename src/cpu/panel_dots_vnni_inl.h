// Products of packed panels on AVX-512 with VNNI: sixteen rows in the lanes of a register, tokens
// in registers beside each other, activations broadcast from memory. Include before panels_inl.h.
#pragma once

#include "cpu/few_tokens_vnni_inl.h"
#include "cpu/panel_types_inl.h"

namespace cadre::CADRE_ISA {
namespace {

constexpr int kFewChains = 6;
constexpr int kTileTokens = 12;  // as many sums as there are registers for

// What the products of a group of 32 columns start from.
template <typename P, int T>
inline void StartGroup(const uint8_t* x, VecI (&acc)[T]) {
  const uint8_t* extras = x + 36 * T;
  CADRE_UNROLL for (int t = 0; t < T; ++t) {
    acc[t] = P::kMins || P::kOffset == 0 ? _mm512_setzero_si512() : Broadcast32(extras + 4 * t);
  }
}
template <typename P, int T, int G>
inline void AddQuad(const uint8_t* w, const uint8_t* x, int j, VecI (&acc)[T]) {
  const VecI levels = P::template Levels<G>(w, 0, j);
  CADRE_UNROLL for (int t = 0; t < T; ++t) AddDots(acc[t], levels, x + 32 * t + 4 * j);
}
template <typename P, int T, int G>
inline void ScaleGroup(const RecordScales& s, const uint8_t* x, const VecI (&acc)[T],
                       VecF (&sums)[T]) {
  const uint8_t* scales = x + 32 * T;
  const uint8_t* extras = x + 36 * T;
  const VecF scale = _mm512_load_ps(s.scale[G]);
  CADRE_UNROLL for (int t = 0; t < T; ++t) {
    sums[t] = MulAdd(_mm512_cvtepi32_ps(acc[t]), Mul(scale, BroadcastF32(scales + 4 * t)), sums[t]);
  }
  if constexpr (P::kMins) {
    const VecF min = _mm512_load_ps(s.min[G]);
    CADRE_UNROLL for (int t = 0; t < T; ++t) sums[t] =
        MulAdd(min, BroadcastF32(extras + 4 * t), sums[t]);
  }
}

// Both groups of a record: T tokens times sixteen rows, into the sums. With few tokens the groups
// take turns: a product waits five cycles for the one before it.
template <typename P, int T>
inline void AddRecord(const uint8_t* w, const RecordScales& s, const uint8_t* x, VecF (&sums)[T]) {
  const uint8_t* second = x + TileGroupBytes(32, T);
  VecI acc[T], acc_second[T];
  StartGroup<P, T>(x, acc);
  if constexpr (T <= kFewChains) {
    StartGroup<P, T>(second, acc_second);
    CADRE_UNROLL for (int j = 0; j < 8; ++j) {
      AddQuad<P, T, 0>(w, x, j, acc);
      AddQuad<P, T, 1>(w, second, j, acc_second);
    }
    ScaleGroup<P, T, 0>(s, x, acc, sums);
    ScaleGroup<P, T, 1>(s, second, acc_second, sums);
  } else {
    CADRE_UNROLL for (int j = 0; j < 8; ++j) AddQuad<P, T, 0>(w, x, j, acc);
    ScaleGroup<P, T, 0>(s, x, acc, sums);
    StartGroup<P, T>(second, acc);
    CADRE_UNROLL for (int j = 0; j < 8; ++j) AddQuad<P, T, 1>(w, second, j, acc);
    ScaleGroup<P, T, 1>(s, second, acc, sums);
  }
}

template <typename P, int T>
void RunTile(const uint8_t* w, const uint8_t* x, int64_t records, int64_t record_bytes,
             float* out) {
  VecF sums[T];
  CADRE_UNROLL for (int t = 0; t < T; ++t) sums[t] = LoadF32(out + 16 * t);
  for (int64_t r = 0; r < records; ++r, w += record_bytes, x += 2 * TileGroupBytes(32, T)) {
    if constexpr (T <= kPrefetchTokens) PrefetchRecord(w, record_bytes);
    RecordScales s;
    P::Scales(w, s);
    AddRecord<P, T>(w, s, x, sums);
  }
  CADRE_UNROLL for (int t = 0; t < T; ++t) StoreF32(out + 16 * t, sums[t]);
}

// One group of 32 columns of a block of 256: level times value times the part's scale, whole
// numbers all.
template <typename P, int T, int G>
inline void AddWideGroup(const uint8_t* w, int64_t step, const WideScales& s, const uint8_t* x,
                         const uint8_t* extras, VecI (&acc)[T]) {
  constexpr int kParts = P::kHalves ? 2 : 1;
  constexpr int kQuads = 8 / kParts;
  const int64_t group = step * P::kUnroll + G;
  CADRE_UNROLL for (int part = 0; part < kParts; ++part) {
    if constexpr (P::kFolded) {
      const FoldFactor factor = P::Factor(s, group * kParts + part);
      CADRE_UNROLL for (int j = part * kQuads; j < (part + 1) * kQuads; ++j) {
        const VecI levels = P::template FoldedLevels<G>(w, step, j, factor);
        CADRE_UNROLL for (int t = 0; t < T; ++t) AddDots(acc[t], levels, x + 256 * t + 4 * j);
      }
      continue;
    }
    const uint8_t* starts = extras + kWideStartsAt + 4 * (group * kParts + part);
    VecI dots[T];
    CADRE_UNROLL for (int t = 0; t < T; ++t) {
      dots[t] = P::kMins ? _mm512_setzero_si512() : Broadcast32(starts + kWideExtraBytes * t);
    }
    CADRE_UNROLL for (int j = part * kQuads; j < (part + 1) * kQuads; ++j) {
      const VecI levels = P::template Levels<G>(w, step, j);
      CADRE_UNROLL for (int t = 0; t < T; ++t) AddDots(dots[t], levels, x + 256 * t + 4 * j);
    }
    const VecI scale = LoadInts(s.scale[group * kParts + part]);
    CADRE_UNROLL for (int t = 0; t < T; ++t) acc[t] =
        _mm512_add_epi32(acc[t], _mm512_mullo_epi32(dots[t], scale));
  }
}

template <typename P, int T>
void RunFewTile(const uint8_t* w, const uint8_t* x, int64_t records, int64_t record_bytes,
                float* out) {
  for (int64_t r = 0; r < records; ++r, w += record_bytes, x += TileGroupBytes(256, T))
    AddFewBlock<T>(P{}, w, x, out);
}

template <typename P, int T>
void RunWideTile(const uint8_t* w, const uint8_t* x, int64_t records, int64_t record_bytes,
                 float* out) {
  if constexpr (P::kFolded && T <= kFewTokens)
    return RunFewTile<P, T>(w, x, records, record_bytes, out);
  constexpr int kPairs = P::kHalves ? 8 : 4;
  for (int64_t r = 0; r < records; ++r, w += record_bytes) {
    if constexpr (T <= kPrefetchTokens) PrefetchRecord(w, record_bytes);
    WideScales s;
    P::Scales(w, s);
    const uint8_t* extras = x + 256 * T;
    VecI acc[T];
    CADRE_UNROLL for (int t = 0; t < T; ++t) {
      acc[t] = P::kFolded && !P::kMins ? Broadcast32(extras + kWideStartAt + kWideExtraBytes * t)
                                       : _mm512_setzero_si512();
    }
    for (int64_t step = 0; step < P::kSteps; ++step, x += 32 * P::kUnroll) {
      AddWideGroup<P, T, 0>(w, step, s, x, extras, acc);
      if constexpr (P::kUnroll > 1) AddWideGroup<P, T, 1>(w, step, s, x + 32, extras, acc);
      if constexpr (P::kUnroll > 2) {
        AddWideGroup<P, T, 2>(w, step, s, x + 64, extras, acc);
        AddWideGroup<P, T, 3>(w, step, s, x + 96, extras, acc);
      }
    }
    CADRE_UNROLL for (int t = 0; t < T; ++t) {
      AddWideSums<P::kMins, kPairs>(acc[t], s, extras + kWideExtraBytes * t, out + 16 * t);
    }
    x += TileGroupBytes(256, T) - 256;
  }
}

// The sums of four values each: `count` values, a multiple of 32.
inline void SumFours(const int8_t* values, int64_t count, int32_t* sums) {
  for (int64_t i = 0; i < count; i += 32) {
    const __m256i x = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(values + i));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums + i / 4),
                        _mm256_dpbusd_epi32(_mm256_setzero_si256(), _mm256_set1_epi8(1), x));
  }
}

// Twelve sums that do not wait for each other, in each round.
inline double IntegerRounds(int64_t rounds) {
  static int32_t value;
  for (int64_t i = 0; i < rounds; ++i) {
    asm volatile(
        "vpdpbusd %0%{1to16%}, %%zmm31, %%zmm0\n vpdpbusd %0%{1to16%}, %%zmm31, %%zmm1\n"
        "vpdpbusd %0%{1to16%}, %%zmm31, %%zmm2\n vpdpbusd %0%{1to16%}, %%zmm31, %%zmm3\n"
        "vpdpbusd %0%{1to16%}, %%zmm31, %%zmm4\n vpdpbusd %0%{1to16%}, %%zmm31, %%zmm5\n"
        "vpdpbusd %0%{1to16%}, %%zmm31, %%zmm6\n vpdpbusd %0%{1to16%}, %%zmm31, %%zmm7\n"
        "vpdpbusd %0%{1to16%}, %%zmm31, %%zmm8\n vpdpbusd %0%{1to16%}, %%zmm31, %%zmm9\n"
        "vpdpbusd %0%{1to16%}, %%zmm31, %%zmm10\n vpdpbusd %0%{1to16%}, %%zmm31, %%zmm11\n"
        :
        : "m"(value)
        : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
          "xmm11", "xmm31");
  }
  return static_cast<double>(rounds) * 12 * 64 * 2;
}

}  // namespace
}  // namespace cadre::CADRE_ISA
