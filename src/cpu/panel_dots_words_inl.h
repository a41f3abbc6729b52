// Products of packed panels where bytes are multiplied in pairs into sums of 16 bits, on AVX2 and
// on AVX-512 without VNNI: a slice of a panel's rows in the lanes of a register, tokens in
// registers beside each other. All whole numbers are exact, and floats follow as in
// panel_dots_vnni_inl.h, so the bits are the same. Include before panels_inl.h.
#pragma once

#include "cpu/panel_types_inl.h"

namespace cadre::CADRE_ISA {
namespace {

constexpr int kTileTokens = kWordTileTokens;

// Levels above 127 would overrun 16 bits: they are taken less their offset, as signed bytes.
template <typename P>
constexpr bool kSigned = P::kMost > 127;
// So many products of four columns stay within 16 bits before they are summed up in 32.
template <typename P>
constexpr int kSumQuads = [] {
  const int pair = 2 * 127 * (kSigned<P> ? 128 : P::kMost);
  return pair > 32767 / 2 ? 1 : pair > 32767 / 4 ? 2 : 4;
}();

template <typename P>
inline auto Factors(VecI levels) {
  if constexpr (kSigned<P>) {
    static_assert(P::kOffset == 128);
    return SplitSigns(FlipTopBits(levels));
  } else {
    return levels;
  }
}

// Columns [4 begin, 4 end) of group G: level times value times a factor of each row.
template <typename P, int T, int G, int kBegin, int kEnd>
inline void AddQuads(const uint8_t* w, int64_t step, int slice, VecI factor, const uint8_t* x,
                     int64_t stride, VecI (&acc)[T]) {
  using Levels = decltype(Factors<P>(factor));
  constexpr int kQuads = kSumQuads<P>;
  CADRE_UNROLL for (int j = kBegin; j < kEnd; j += kQuads) {
    Levels levels[kQuads];
    CADRE_UNROLL for (int i = 0; i < kQuads; ++i) {
      levels[i] = Factors<P>(P::template Levels<G>(w, step, j + i, slice));
    }
    CADRE_UNROLL for (int t = 0; t < T; ++t) {
      const uint8_t* values = x + stride * t + 4 * j;
      VecI sums = ByteDots2(levels[0], Broadcast32(values));
      CADRE_UNROLL for (int i = 1; i < kQuads; ++i) {
        sums = AddWords(sums, ByteDots2(levels[i], Broadcast32(values + 4 * i)));
      }
      acc[t] = AddWordDots(acc[t], sums, factor);
    }
  }
}

// One group of 32 columns: T tokens times a slice of the rows, into the sums.
template <typename P, int T, int G>
inline void AddGroup(const uint8_t* w, int slice, const RecordScales& s, const uint8_t* x,
                     float* out) {
  constexpr bool kStarts = !P::kMins && !kSigned<P> && P::kOffset != 0;
  const uint8_t* scales = x + 32 * T;
  const uint8_t* extras = x + 36 * T;
  VecI acc[T];
  CADRE_UNROLL for (int t = 0; t < T; ++t) {
    acc[t] = kStarts ? Broadcast32(extras + 4 * t) : ZeroInts();
  }
  AddQuads<P, T, G, 0, 8>(w, 0, slice, Broadcast16(1), x, 32, acc);
  const VecF scale = LoadF32(s.scale[G] + slice * kLanes);
  CADRE_UNROLL for (int t = 0; t < T; ++t) {
    VecF sum =
        MulAdd(ToFloats(acc[t]), Mul(scale, BroadcastF32(scales + 4 * t)), LoadF32(out + 16 * t));
    if constexpr (P::kMins) {
      sum = MulAdd(LoadF32(s.min[G] + slice * kLanes), BroadcastF32(extras + 4 * t), sum);
    }
    StoreF32(out + 16 * t, sum);
  }
}

template <typename P, int T>
void RunTile(const uint8_t* w, const uint8_t* x, int64_t records, int64_t record_bytes,
             float* out) {
  for (int64_t r = 0; r < records; ++r, w += record_bytes, x += 2 * TileGroupBytes(32, T)) {
    if constexpr (T <= kPrefetchTokens) PrefetchRecord(w, record_bytes);
    RecordScales s;
    P::Scales(w, s);
    for (int slice = 0; slice < kSlices; ++slice) {
      AddGroup<P, T, 0>(w, slice, s, x, out + slice * kLanes);
      AddGroup<P, T, 1>(w, slice, s, x + TileGroupBytes(32, T), out + slice * kLanes);
    }
  }
}

// The factor of a part's levels.
template <typename P>
inline VecI PartFactor(const WideScales& s, int64_t part, int slice) {
  if constexpr (P::kFolded) return FactorOf(SliceOf(s.bytes[part], slice, 1));
  return LoadInts(s.scale[part] + slice * kLanes);
}

// What all levels of two parts each are off by, as factors of the sums of the activations.
template <typename P>
inline void StoreOffsets(WideScales& s) {
  for (int64_t i = 0; i < 8 * (P::kHalves ? 2 : 1); i += 2) {
    for (int slice = 0; slice < kSlices; ++slice) {
      const VecI pair = OddWords(PartFactor<P>(s, i, slice), PartFactor<P>(s, i + 1, slice));
      StoreInts(s.pairs[i / 2] + slice * kLanes, MulWords(pair, Broadcast16(-P::kOffset)));
    }
  }
}

// One group of 32 columns of a block of 256: level times value times the part's scale.
template <typename P, int T, int G>
inline void AddWideGroup(const uint8_t* w, int64_t step, int slice, const WideScales& s,
                         const uint8_t* x, VecI (&acc)[T]) {
  const int64_t group = step * P::kUnroll + G;
  if constexpr (P::kHalves) {
    AddQuads<P, T, G, 0, 4>(w, step, slice, PartFactor<P>(s, 2 * group, slice), x, 256, acc);
    AddQuads<P, T, G, 4, 8>(w, step, slice, PartFactor<P>(s, 2 * group + 1, slice), x, 256, acc);
  } else {
    AddQuads<P, T, G, 0, 8>(w, step, slice, PartFactor<P>(s, group, slice), x, 256, acc);
  }
}

template <typename P, int T>
inline void AddWideBlock(const uint8_t* w, int slice, const WideScales& s, const uint8_t* x,
                         float* out) {
  constexpr bool kOffsets = !P::kMins && !kSigned<P> && P::kOffset != 0;
  constexpr int kPairs = P::kHalves ? 8 : 4;
  const uint8_t* extras = x + 256 * T;
  VecI acc[T];
  CADRE_UNROLL for (int t = 0; t < T; ++t) {
    acc[t] = kOffsets ? AddPairs<kPairs>(s, extras + kWideExtraBytes * t, slice) : ZeroInts();
  }
  for (int64_t step = 0; step < P::kSteps; ++step, x += 32 * P::kUnroll) {
    AddWideGroup<P, T, 0>(w, step, slice, s, x, acc);
    if constexpr (P::kUnroll > 1) AddWideGroup<P, T, 1>(w, step, slice, s, x + 32, acc);
    if constexpr (P::kUnroll > 2) {
      AddWideGroup<P, T, 2>(w, step, slice, s, x + 64, acc);
      AddWideGroup<P, T, 3>(w, step, slice, s, x + 96, acc);
    }
  }
  CADRE_UNROLL for (int t = 0; t < T; ++t) {
    AddWideSums<P::kMins, kPairs>(acc[t], s, extras + kWideExtraBytes * t, out + 16 * t, slice);
  }
}

template <typename P, int T>
void RunWideTile(const uint8_t* w, const uint8_t* x, int64_t records, int64_t record_bytes,
                 float* out) {
  for (int64_t r = 0; r < records; ++r, w += record_bytes, x += TileGroupBytes(256, T)) {
    if constexpr (T <= kPrefetchTokens) PrefetchRecord(w, record_bytes);
    WideScales s;
    P::Scales(w, s);
    if constexpr (!P::kMins && !kSigned<P> && P::kOffset != 0) StoreOffsets<P>(s);
    for (int slice = 0; slice < kSlices; ++slice)
      AddWideBlock<P, T>(w, slice, s, x, out + slice * kLanes);
  }
}

// The sums of four values each: `count` values, a multiple of 32.
inline void SumFours(const int8_t* values, int64_t count, int32_t* sums) {
  for (int64_t i = 0; i < count; i += 32) {
    const __m256i x = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(values + i));
    const __m256i pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(1), x);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums + i / 4),
                        _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
}

// As the products of nibbles are made: four of them into one of eight sums.
inline double IntegerRounds(int64_t rounds) {
  VecI acc[8] = {};
  VecI bytes = Broadcast8(1);
  const VecI ones = Broadcast16(1);
  for (int64_t i = 0; i < rounds; ++i) {
    CADRE_UNROLL for (int t = 0; t < 8; ++t) {
      VecI sums = ZeroInts();
      CADRE_UNROLL for (int j = 0; j < 4; ++j) {
        asm volatile("" : "+x"(bytes));  // or the products would be taken out of the loop
        const VecI dots = ByteDots2(bytes, bytes);
        sums = j == 0 ? dots : AddWords(sums, dots);
      }
      acc[t] = AddWordDots(acc[t], sums, ones);
    }
  }
  CADRE_UNROLL for (int t = 0; t < 8; ++t) asm volatile("" : "+x"(acc[t]));
  return static_cast<double>(rounds) * 8 * 4 * kIntBytes * 2;
}

}  // namespace
}  // namespace cadre::CADRE_ISA
