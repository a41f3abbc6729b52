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
inline __m128i AndRows(__m128i x, int mask) {
  return _mm_and_si128(x, _mm_set1_epi8(static_cast<char>(mask)));
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
  // The factor of a part's levels. Folded types: the same twice, as 16 bits.
  alignas(64) int32_t scale[16][16];
  // Two parts' factors of the sums of the activations, as 16 bits: the minima, or what the levels
  // are off by times the scale.
  alignas(64) int32_t pairs[8][16];
  VecF d;
  VecF min;  // of the pairs, where they are minima
};
inline VecI WideU8(__m128i bytes) { return _mm512_cvtepu8_epi32(bytes); }
inline VecI WideI8(__m128i bytes) { return _mm512_cvtepi8_epi32(bytes); }
inline VecI LoadInts(const int32_t* p) { return _mm512_load_si512(p); }
inline void StoreInts(int32_t* to, VecI x) { _mm512_store_si512(to, x); }
// Two numbers of each row as 16 bits.
inline VecI PairOf(VecI low, VecI high) {
  return _mm512_mask_blend_epi16(0xaaaaaaaa, low, _mm512_slli_epi32(high, 16));
}

// How a type's record is read. kOffset: what its levels are above their value. kMins: a minimum is
// added to each value. kWide: blocks of 256, else two of 32, which are groups 0 and 1 of step 0.
// Levels<G>(record, step, j) has columns [4j, 4j + 4) of group G of 32 columns of the step.
// Wide ones only: kHalves: parts are of sixteen columns, else of 32. A record is kSteps times
// kUnroll groups. kFolded: FoldedLevels are the levels times the part's scale. kDigits: in how many
// signed bytes level times scale fits, kNegated: if its sign is turned.

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
  VecI mins[8];
  const auto byte = [&](int i) { return LoadRows(w + 64 + 16 * i); };
  for (int j = 0; j < 8; ++j) {
    __m128i scale, min;
    if (j < 4) {
      scale = AndRows(byte(j), 63);
      min = AndRows(byte(j + 4), 63);
    } else {
      const auto high = [&](int i) {
        return _mm_slli_epi16(AndRows(_mm_srli_epi16(byte(i), 6), 3), 4);
      };
      scale = _mm_or_si128(AndRows(byte(j + 4), 15), high(j - 4));
      min = _mm_or_si128(AndRows(_mm_srli_epi16(byte(j + 4), 4), 15), high(j));
    }
    StoreInts(s.scale[j], WideU8(scale));
    mins[j] = WideU8(min);
  }
  for (int j = 0; j < 4; ++j) StoreInts(s.pairs[j], PairOf(mins[2 * j], mins[2 * j + 1]));
}

// Four low bits and two high ones, 32 above the value.
inline VecI SixBitScale(__m128i low, __m128i high) {
  return WideI8(_mm_sub_epi8(_mm_or_si128(low, _mm_slli_epi16(high, 4)), _mm_set1_epi8(32)));
}

// Scales of `kParts` parts whose levels are all off by kOffset.
template <int kParts, int kOffset>
inline void StoreOffsetScales(const VecI* scales, WideScales& s) {
  const VecI minus_offset = _mm512_set1_epi16(-kOffset);
  for (int j = 0; j < kParts; ++j) StoreInts(s.scale[j], scales[j]);
  for (int j = 0; j < kParts / 2; ++j) {
    const VecI pair = PairOf(scales[2 * j], scales[2 * j + 1]);
    StoreInts(s.pairs[j], _mm512_mullo_epi16(pair, minus_offset));
  }
}

struct PanelQ4_K {
  static constexpr int kOffset = 0;
  static constexpr bool kHalves = false, kMins = true;
  static constexpr int kUnroll = 2, kSteps = 4;
  static constexpr bool kWide = true, kFolded = false, kNegated = false;
  static constexpr int kDigits = 2;
  static void Scales(const uint8_t* w, WideScales& s) { ScaleMinsOfEight(w, s); }
  template <int G>
  static VecI Levels(const uint8_t* w, int64_t step, int j) {
    const VecI x = LoadLevels(w + 256 + 512 * step + 64 * j);
    return G == 0 ? LowNibbles(x) : HighNibbles(x);
  }
};

struct PanelQ5_K {
  static constexpr int kOffset = 0;
  static constexpr bool kHalves = false, kMins = true;
  static constexpr int kUnroll = 2, kSteps = 4;
  static constexpr bool kWide = true, kFolded = false, kNegated = false;
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
  static constexpr int kOffset = 32;
  static constexpr bool kHalves = true, kMins = false;
  static constexpr int kUnroll = 4, kSteps = 2;
  static constexpr bool kWide = true, kFolded = false, kNegated = false;
  static constexpr int kDigits = 2;
  static void Scales(const uint8_t* w, WideScales& s) {
    s.d = LoadHalves(w);
    VecI scales[16];
    for (int j = 0; j < 16; ++j) scales[j] = WideI8(LoadRows(w + 64 + 16 * j));
    StoreOffsetScales<16, kOffset>(scales, s);
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

struct PanelQ3_K {
  static constexpr int kOffset = 4;
  static constexpr bool kHalves = true, kMins = false;
  static constexpr int kUnroll = 4, kSteps = 2;
  static constexpr bool kWide = true, kFolded = false, kNegated = true;
  static constexpr int kDigits = 1;
  static void Scales(const uint8_t* w, WideScales& s) {
    s.d = LoadHalves(w);
    VecI scales[16];
    const auto byte = [&](int i) { return LoadRows(w + 64 + 16 * i); };
    for (int j = 0; j < 16; ++j) {
      const __m128i low = AndRows(j < 8 ? byte(j) : _mm_srli_epi16(byte(j - 8), 4), 15);
      const __m128i high =
          AndRows(_mm_srl_epi16(byte(8 + j % 4), _mm_cvtsi32_si128(2 * (j / 4))), 3);
      scales[j] = SixBitScale(low, high);
    }
    StoreOffsetScales<16, kOffset>(scales, s);
  }
  template <int G>
  static VecI Levels(const uint8_t* w, int64_t step, int j) {
    const VecI low = TwoBits<G>(LoadLevels(w + 768 + 512 * step + 64 * j));
    const VecI bit = _mm512_set1_epi8(static_cast<char>(1 << (4 * step + G)));
    return AddWhere(low, _mm512_test_epi8_mask(LoadLevels(w + 256 + 64 * j), bit), 4);
  }
};

struct PanelQ2_K {
  static constexpr int kOffset = 0;
  static constexpr bool kHalves = true, kMins = true;
  static constexpr int kUnroll = 4, kSteps = 2;
  static constexpr bool kWide = true, kFolded = true, kNegated = false;
  static constexpr int kDigits = 1;
  static void Scales(const uint8_t* w, WideScales& s) {
    s.d = LoadHalves(w);
    s.min = Sub(Zero(), LoadHalves(w + 32));
    // A row's byte twice, as 16 bits.
    const VecI spread = _mm512_setr_epi64(
        0xff01ff01ff00ff00, 0xff03ff03ff02ff02, 0xff05ff05ff04ff04, 0xff07ff07ff06ff06,
        0xff09ff09ff08ff08, 0xff0bff0bff0aff0a, 0xff0dff0dff0cff0c, 0xff0fff0fff0eff0e);
    const auto both = [&](int k) {
      return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(LoadRows(w + 64 + 16 * k)), spread);
    };
    for (int k = 0; k < 8; ++k) {
      const VecI first = both(2 * k), second = both(2 * k + 1);
      const VecI low = _mm512_set1_epi16(15);
      StoreInts(s.scale[2 * k], _mm512_and_si512(first, low));
      StoreInts(s.scale[2 * k + 1], _mm512_and_si512(second, low));
      StoreInts(s.pairs[k],
                _mm512_srli_epi16(_mm512_mask_blend_epi16(0xaaaaaaaa, first, second), 4));
    }
  }
  // At most 3 times 15: two bytes are multiplied at once.
  template <int G>
  static VecI FoldedLevels(const uint8_t* w, int64_t step, int j, VecI scale) {
    return _mm512_mullo_epi16(Levels<G>(w, step, j), scale);
  }
  template <int G>
  static VecI Levels(const uint8_t* w, int64_t step, int j) {
    return TwoBits<G>(LoadLevels(w + 320 + 512 * step + 64 * j));
  }
};

struct PanelIQ4_XS {
  static constexpr int kOffset = 128;
  static constexpr bool kHalves = false, kMins = false;
  static constexpr int kUnroll = 1, kSteps = 8;
  static constexpr bool kWide = true, kFolded = false, kNegated = false;
  static constexpr int kDigits = 2;
  static void Scales(const uint8_t* w, WideScales& s) {
    s.d = LoadHalves(w);
    VecI scales[8];
    for (int j = 0; j < 8; ++j) {
      const __m128i low = AndRows(
          _mm_srl_epi16(LoadRows(w + 64 + 32 + 16 * (j / 2)), _mm_cvtsi32_si128(4 * (j % 2))), 15);
      const __m128i high = AndRows(
          _mm_srl_epi16(LoadRows(w + 64 + 16 * (j / 4)), _mm_cvtsi32_si128(2 * (j % 4))), 3);
      scales[j] = SixBitScale(low, high);
    }
    StoreOffsetScales<8, kOffset>(scales, s);
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
