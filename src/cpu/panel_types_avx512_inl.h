// How the records of packed panels (cpu/panels.h) are read, sixteen rows at a time: levels and
// scales of each type. Include after simd_avx512_inl.h.
#pragma once

#include "cpu/panels.h"

namespace cadre::avx512 {
namespace {

using VecI = __m512i;

#define CADRE_UNROLL _Pragma("GCC unroll 16")

inline VecI LoadLevels(const uint8_t* p) { return _mm512_load_si512(p); }
inline VecF BroadcastF32(const uint8_t* p) {
  float value;
  __builtin_memcpy(&value, p, 4);
  return _mm512_set1_ps(value);
}
inline VecF LoadHalves(const uint8_t* p) {
  return _mm512_cvtph_ps(_mm256_load_si256(reinterpret_cast<const __m256i*>(p)));
}
inline __m128i LoadRows(const uint8_t* p) {
  return _mm_load_si128(reinterpret_cast<const __m128i*>(p));
}

inline VecI LowNibbles(VecI x) { return _mm512_and_si512(x, _mm512_set1_epi8(15)); }
inline VecI HighNibbles(VecI x) { return LowNibbles(_mm512_srli_epi16(x, 4)); }
// Bits [2 shift, 2 shift + 2) of each byte.
template <int kShift>
inline VecI TwoBits(VecI x) {
  return _mm512_and_si512(_mm512_srli_epi16(x, 2 * kShift), _mm512_set1_epi8(3));
}
inline VecI AddWhere(VecI x, __mmask64 where, int value) {
  return _mm512_mask_add_epi8(x, where, x, _mm512_set1_epi8(static_cast<char>(value)));
}
inline VecI Iq4Bytes(VecI nibbles) {  // levels + 128
  const __m128i table =
      _mm_setr_epi8(1, 24, 45, 63, 79, 93, 106, 118, char(129), char(141), char(153), char(166),
                    char(181), char(197), char(217), char(241));
  return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(table), nibbles);
}

// What a record's scales come to. Blocks of 32: floats, per group and row.
struct RecordScales {
  alignas(64) float scale[2][16];
  alignas(64) float min[2][16];  // added once per activation
};
inline void StoreRows(float* to, VecF x) { _mm512_store_ps(to, x); }

// Blocks of 256: integers per part (of 32 columns, or sixteen) and row, and two floats per row.
struct WideScales {
  // The factor of a part's levels. Folded types have it as bytes instead.
  alignas(64) int32_t scale[16][16];
  alignas(64) uint8_t bytes[16][16];
  // Two parts' minima as 16 bits, the factors of the sums of the activations.
  alignas(64) int32_t pairs[8][16];
  VecF d;
  VecF min;  // of the pairs
};
inline VecI WideU8(__m128i bytes) { return _mm512_cvtepu8_epi32(bytes); }
inline VecI WideI8(__m128i bytes) { return _mm512_cvtepi8_epi32(bytes); }
inline VecI LoadInts(const int32_t* p) { return _mm512_load_si512(p); }
inline void StoreInts(int32_t* to, VecI x) { _mm512_store_si512(to, x); }
// Two numbers of each row as 16 bits.
inline VecI PairOf(VecI low, VecI high) {
  return _mm512_mask_blend_epi16(0xaaaaaaaa, low, _mm512_slli_epi32(high, 16));
}
// Sixteen rows of four numbers each, a byte apiece.
inline VecI LoadFourRows(const uint8_t* p) { return _mm512_load_si512(p); }
inline VecI AndBytes(VecI x, int mask) {
  return _mm512_and_si512(x, _mm512_set1_epi8(static_cast<char>(mask)));
}
// The bits of `mask` from b, the others from a.
inline VecI Select(VecI a, VecI b, int mask) {
  return _mm512_ternarylogic_epi32(_mm512_set1_epi8(static_cast<char>(mask)), b, a, 0xca);
}

// The bytes of sixteen rows, each twice, as the upper half of 16 bits.
inline VecI SpreadRows(__m128i bytes) {
  const VecI places = _mm512_setr_epi64(0x01ff01ff00ff00ff, 0x03ff03ff02ff02ff, 0x05ff05ff04ff04ff,
                                        0x07ff07ff06ff06ff, 0x09ff09ff08ff08ff, 0x0bff0bff0aff0aff,
                                        0x0dff0dff0cff0cff, 0x0fff0fff0eff0eff);
  return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(bytes), places);
}

// A factor of levels that are multiplied before they meet the values, the same twice as 16 bits,
// and what is added afterwards.
struct FoldFactor {
  VecI times, plus;
};

// How a type's record is read. kOffset: what its levels are above their value. kMins: a minimum is
// added to each value. kWide: blocks of 256, else two of 32, which are groups 0 and 1 of step 0.
// Levels<G>(record, step, j) has columns [4j, 4j + 4) of group G of 32 columns of the step.
// Wide ones only: kHalves: parts are of sixteen columns, else of 32. A record is kSteps times
// kUnroll groups. kFolded: levels times the part's scale fit in a byte and are FoldedLevels, which
// are kFoldOffset above that. kDigits: in how many signed bytes level times scale fits.

// Blocks of 32: records of two.
template <bool kHasMins, int kLevelOffset>
struct OfTwoBlocks {
  static constexpr int kOffset = kLevelOffset;
  static constexpr bool kWide = false, kMins = kHasMins;
  static constexpr int kLevelsAt = kHasMins ? 128 : 64;
  static void Scales(const uint8_t* w, RecordScales& s) {
    for (int g = 0; g < 2; ++g) {
      StoreRows(s.scale[g], LoadHalves(w + 32 * g));
      if (kHasMins) StoreRows(s.min[g], LoadHalves(w + 64 + 32 * g));
    }
  }
};

template <bool kHasMins, int kLevelOffset>
struct NibblesOfTwo : OfTwoBlocks<kHasMins, kLevelOffset> {
  template <int G>
  static VecI Nibbles(const uint8_t* w, int j) {
    const VecI x =
        LoadLevels(w + OfTwoBlocks<kHasMins, kLevelOffset>::kLevelsAt + 256 * G + 64 * (j & 3));
    return j < 4 ? LowNibbles(x) : HighNibbles(x);
  }
};
struct PanelQ4_0 : NibblesOfTwo<false, 8> {
  template <int G>
  static VecI Levels(const uint8_t* w, int64_t, int j) {
    return Nibbles<G>(w, j);
  }
};
struct PanelQ4_1 : NibblesOfTwo<true, 0> {
  template <int G>
  static VecI Levels(const uint8_t* w, int64_t, int j) {
    return Nibbles<G>(w, j);
  }
};
struct PanelIQ4_NL : NibblesOfTwo<false, 128> {
  template <int G>
  static VecI Levels(const uint8_t* w, int64_t, int j) {
    return Iq4Bytes(Nibbles<G>(w, j));
  }
};
// The fifth bits: 64 in a row for each 64 bytes of levels.
template <bool kHasMins, int kLevelOffset>
struct FiveBitsOfTwo : NibblesOfTwo<kHasMins, kLevelOffset> {
  template <int G>
  static VecI Levels(const uint8_t* w, int64_t, int j) {
    __mmask64 bits;
    __builtin_memcpy(&bits,
                     w + OfTwoBlocks<kHasMins, kLevelOffset>::kLevelsAt + 512 + 64 * G + 8 * j, 8);
    return AddWhere(NibblesOfTwo<kHasMins, kLevelOffset>::template Nibbles<G>(w, j), bits, 16);
  }
};
using PanelQ5_0 = FiveBitsOfTwo<false, 16>;
using PanelQ5_1 = FiveBitsOfTwo<true, 0>;

struct PanelQ8_0 : OfTwoBlocks<false, 128> {
  template <int G>
  static VecI Levels(const uint8_t* w, int64_t, int j) {
    return LoadLevels(w + 64 + 512 * G + 64 * j);
  }
};

// Six-bit scales and minima of eight sub-blocks: bytes 0 to 11 of the block, a row of sixteen each.
inline void ScaleMinsOfEight(const uint8_t* w, WideScales& s) {
  s.d = LoadHalves(w);
  s.min = Sub(Zero(), LoadHalves(w + 32));
  const VecI first = LoadFourRows(w + 64), second = LoadFourRows(w + 128),
             third = LoadFourRows(w + 192);
  alignas(64) uint8_t scales[8][16], mins[8][16];
  const auto store = [](uint8_t(&to)[16], VecI x) { _mm512_store_si512(to, x); };
  store(scales[0], AndBytes(first, 63));
  store(mins[0], AndBytes(second, 63));
  store(scales[4], AndBytes(Select(third, _mm512_srli_epi16(first, 2), 0x30), 63));
  store(mins[4],
        AndBytes(Select(_mm512_srli_epi16(third, 4), _mm512_srli_epi16(second, 2), 0x30), 63));
  for (int j = 0; j < 8; ++j) StoreInts(s.scale[j], WideU8(LoadRows(scales[j])));
  for (int j = 0; j < 4; ++j) {
    StoreInts(s.pairs[j], PairOf(WideU8(LoadRows(mins[2 * j])), WideU8(LoadRows(mins[2 * j + 1]))));
  }
}

struct PanelQ4_K {
  static constexpr int kOffset = 0, kFoldOffset = 0;
  static constexpr bool kHalves = false, kMins = true;
  static constexpr int kUnroll = 2, kSteps = 4;
  static constexpr bool kWide = true, kFolded = false;
  static constexpr int kDigits = 2;
  static void Scales(const uint8_t* w, WideScales& s) { ScaleMinsOfEight(w, s); }
  template <int G>
  static VecI Levels(const uint8_t* w, int64_t step, int j) {
    const VecI x = LoadLevels(w + 256 + 512 * step + 64 * j);
    return G == 0 ? LowNibbles(x) : HighNibbles(x);
  }
};

struct PanelQ5_K {
  static constexpr int kOffset = 0, kFoldOffset = 0;
  static constexpr bool kHalves = false, kMins = true;
  static constexpr int kUnroll = 2, kSteps = 4;
  static constexpr bool kWide = true, kFolded = false;
  static constexpr int kDigits = 2;
  static void Scales(const uint8_t* w, WideScales& s) { ScaleMinsOfEight(w, s); }
  template <int G>
  static VecI Levels(const uint8_t* w, int64_t step, int j) {
    const VecI x = LoadLevels(w + 768 + 512 * step + 64 * j);
    const VecI bit = _mm512_set1_epi8(static_cast<char>(1 << (2 * step + G)));
    const __mmask64 fifth = _mm512_test_epi8_mask(LoadLevels(w + 256 + 64 * j), bit);
    return AddWhere(G == 0 ? LowNibbles(x) : HighNibbles(x), fifth, 16);
  }
};

struct PanelQ6_K {
  static constexpr int kOffset = 32, kFoldOffset = 0;
  static constexpr bool kHalves = true, kMins = false;
  static constexpr int kUnroll = 4, kSteps = 2;
  static constexpr bool kWide = true, kFolded = false;
  static constexpr int kDigits = 2;
  static void Scales(const uint8_t* w, WideScales& s) {
    s.d = LoadHalves(w);
    for (int j = 0; j < 16; ++j) StoreInts(s.scale[j], WideI8(LoadRows(w + 64 + 16 * j)));
  }
  template <int G>
  static VecI Levels(const uint8_t* w, int64_t step, int j) {
    const VecI low = LoadLevels(w + 320 + 1024 * step + 512 * (G & 1) + 64 * j);
    const VecI high = LoadLevels(w + 320 + 2048 + 512 * step + 64 * j);
    const VecI nibble = G < 2 ? LowNibbles(low) : HighNibbles(low);
    const VecI shifted = G == 0   ? _mm512_slli_epi16(high, 4)
                         : G == 1 ? _mm512_slli_epi16(high, 2)
                         : G == 2 ? high
                                  : _mm512_srli_epi16(high, 2);
    // nibble | (shifted & 0x30)
    return _mm512_ternarylogic_epi32(nibble, shifted, _mm512_set1_epi8(0x30), 0xf8);
  }
};

// Level times scale is -124 to 128, of which only the negative fits in a byte: so are scales and d.
struct PanelQ3_K {
  static constexpr int kOffset = 4, kFoldOffset = 128;
  static constexpr bool kHalves = true, kMins = false;
  static constexpr int kUnroll = 4, kSteps = 2;
  static constexpr bool kWide = true, kFolded = true;
  static constexpr int kDigits = 1;
  static void Scales(const uint8_t* w, WideScales& s) {
    s.d = Sub(Zero(), LoadHalves(w));
    const VecI high = LoadFourRows(w + 64 + 128);
    const auto store = [&](int j, VecI low, VecI two_bits) {
      const VecI scale = AndBytes(Select(low, two_bits, 0x30), 63);
      _mm512_store_si512(s.bytes[j], _mm512_sub_epi8(_mm512_set1_epi8(32), scale));
    };
    const VecI first = LoadFourRows(w + 64), second = LoadFourRows(w + 128);
    store(0, first, _mm512_slli_epi16(high, 4));
    store(4, second, _mm512_slli_epi16(high, 2));
    store(8, _mm512_srli_epi16(first, 4), high);
    store(12, _mm512_srli_epi16(second, 4), _mm512_srli_epi16(high, 2));
  }
  static FoldFactor Factor(const WideScales& s, int64_t part) {
    const VecI times = _mm512_srai_epi16(SpreadRows(LoadRows(s.bytes[part])), 8);
    // (level - 4) times + 128, two levels at once
    const VecI four = _mm512_mullo_epi16(times, _mm512_set1_epi16(0x0404));
    return {times, _mm512_sub_epi16(_mm512_set1_epi16(static_cast<short>(0x8080)), four)};
  }
  // The two bytes are multiplied as one number: the lower one, 128 above its product, carries
  // nothing into the upper one.
  template <int G>
  static VecI FoldedLevels(const uint8_t* w, int64_t step, int j, const FoldFactor& factor) {
    return _mm512_add_epi16(_mm512_mullo_epi16(Levels<G>(w, step, j), factor.times), factor.plus);
  }
  template <int G>
  static VecI Levels(const uint8_t* w, int64_t step, int j) {
    const VecI low = LoadLevels(w + 768 + 512 * step + 64 * j);
    const VecI bits = LoadLevels(w + 256 + 256 * step + 64 * (j & 3));
    const int at = G + (j < 4 ? 0 : 4);
    const VecI third = at < 2 ? _mm512_slli_epi16(bits, static_cast<unsigned>(2 - at) & 15)
                              : _mm512_srli_epi16(bits, static_cast<unsigned>(at - 2) & 15);
    return AndBytes(Select(G == 0 ? low : _mm512_srli_epi16(low, 2 * G), third, 4), 7);
  }
};

struct PanelQ2_K {
  static constexpr int kOffset = 0, kFoldOffset = 0;
  static constexpr bool kHalves = true, kMins = true;
  static constexpr int kUnroll = 4, kSteps = 2;
  static constexpr bool kWide = true, kFolded = true;
  static constexpr int kDigits = 1;
  static void Scales(const uint8_t* w, WideScales& s) {
    s.d = LoadHalves(w);
    s.min = Sub(Zero(), LoadHalves(w + 32));
    for (int j = 0; j < 16; j += 4) {
      const VecI both = LoadFourRows(w + 64 + 16 * j);
      _mm512_store_si512(s.bytes[j], LowNibbles(both));
    }
    for (int k = 0; k < 8; ++k) {
      const VecI first = SpreadRows(LoadRows(w + 64 + 32 * k)),
                 second = SpreadRows(LoadRows(w + 64 + 32 * k + 16));
      StoreInts(s.pairs[k],
                _mm512_srli_epi16(_mm512_mask_blend_epi16(0xaaaaaaaa, first, second), 4 + 8));
    }
  }
  static FoldFactor Factor(const WideScales& s, int64_t part) {
    return {_mm512_srli_epi16(SpreadRows(LoadRows(s.bytes[part])), 8), _mm512_setzero_si512()};
  }
  // At most 3 times 15: two bytes are multiplied at once.
  template <int G>
  static VecI FoldedLevels(const uint8_t* w, int64_t step, int j, const FoldFactor& factor) {
    return _mm512_mullo_epi16(Levels<G>(w, step, j), factor.times);
  }
  template <int G>
  static VecI Levels(const uint8_t* w, int64_t step, int j) {
    return TwoBits<G>(LoadLevels(w + 320 + 512 * step + 64 * j));
  }
};

struct PanelIQ4_XS {
  static constexpr int kOffset = 128, kFoldOffset = 0;
  static constexpr bool kHalves = false, kMins = false;
  static constexpr int kUnroll = 1, kSteps = 8;
  static constexpr bool kWide = true, kFolded = false;
  static constexpr int kDigits = 2;
  static void Scales(const uint8_t* w, WideScales& s) {
    constexpr int64_t kFours = 0x0004000400040004;
    s.d = LoadHalves(w);
    // Rows of low bits: parts 0 2 4 6 in the lower halves of bytes, 1 3 5 7 in the upper ones. Two
    // rows of high bits, each of four parts.
    const VecI low = _mm512_loadu_si512(w + 96);
    const VecI pairs_of_rows =
        _mm512_castsi256_si512(_mm256_load_si256(reinterpret_cast<const __m256i*>(w + 64)));
    const VecI high =
        _mm512_srlv_epi16(_mm512_shuffle_i32x4(pairs_of_rows, pairs_of_rows, 0x50),
                          _mm512_setr_epi64(0, 0, kFours, kFours, 0, 0, kFours, kFours));
    alignas(64) uint8_t bytes[2][4][16];
    const auto store = [&](int odd, VecI low_bits, VecI high_bits) {
      _mm512_store_si512(
          bytes[odd],
          _mm512_sub_epi8(AndBytes(Select(low_bits, high_bits, 0x30), 63), _mm512_set1_epi8(32)));
    };
    store(0, low, _mm512_slli_epi16(high, 4));
    store(1, _mm512_srli_epi16(low, 4), _mm512_slli_epi16(high, 2));
    for (int j = 0; j < 8; ++j) StoreInts(s.scale[j], WideI8(LoadRows(bytes[j % 2][j / 2])));
  }
  template <int G>
  static VecI Levels(const uint8_t* w, int64_t step, int j) {
    const VecI x = LoadLevels(w + 192 + 256 * step + 64 * (j & 3));
    return Iq4Bytes(j < 4 ? LowNibbles(x) : HighNibbles(x));
  }
};

inline VecI Broadcast32(const uint8_t* p) {
  int32_t value;
  __builtin_memcpy(&value, p, 4);
  return _mm512_set1_epi32(value);
}

// The sum of the pairs times the sums of one token's values.
template <int kPairs>
inline VecI AddPairs(const WideScales& s, const uint8_t* extras) {
  VecI acc = _mm512_setzero_si512();
  CADRE_UNROLL for (int i = 0; i < kPairs; ++i) {
    acc = _mm512_dpwssd_epi32(acc, LoadInts(s.pairs[i]), Broadcast32(extras + kWideSumsAt + 4 * i));
  }
  return acc;
}

// out [16] += what the whole numbers of a block come to for one token.
template <bool kMins, int kPairs>
inline void AddWideSums(VecI acc, const WideScales& s, const uint8_t* extras, float* out) {
  const VecF scale = BroadcastF32(extras);
  VecF sum = MulAdd(_mm512_cvtepi32_ps(acc), Mul(s.d, scale), LoadF32(out));
  if constexpr (kMins)
    sum = MulAdd(_mm512_cvtepi32_ps(AddPairs<kPairs>(s, extras)), Mul(s.min, scale), sum);
  StoreF32(out, sum);
}

template <int kCount>
struct Count {
  static constexpr int value = kCount;
};

// Calls function(Count<count>{}), count from 1 to kMax: so many tokens are a constant to it.
template <int kMax, typename Function>
inline void WithCount(int64_t count, const Function& function) {
  if (count == kMax) return function(Count<kMax>{});
  if constexpr (kMax > 1) WithCount<kMax - 1>(count, function);
}

// Calls function(Panel...{}) for the type.
template <typename Function>
inline void WithPanel(DType type, const Function& function) {
  switch (type) {
    case DType::kQ4_0:
      return function(PanelQ4_0{});
    case DType::kQ4_1:
      return function(PanelQ4_1{});
    case DType::kQ5_0:
      return function(PanelQ5_0{});
    case DType::kQ5_1:
      return function(PanelQ5_1{});
    case DType::kQ8_0:
      return function(PanelQ8_0{});
    case DType::kQ2_K:
      return function(PanelQ2_K{});
    case DType::kQ3_K:
      return function(PanelQ3_K{});
    case DType::kQ4_K:
      return function(PanelQ4_K{});
    case DType::kQ5_K:
      return function(PanelQ5_K{});
    case DType::kQ6_K:
      return function(PanelQ6_K{});
    case DType::kIQ4_NL:
      return function(PanelIQ4_NL{});
    case DType::kIQ4_XS:
      return function(PanelIQ4_XS{});
    default:
      return;
  }
}

}  // namespace
}  // namespace cadre::avx512
