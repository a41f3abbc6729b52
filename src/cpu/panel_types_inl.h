// How the records of packed panels (cpu/panels.h) are read: levels and scales of each type. A
// vector takes a slice of a panel's sixteen rows: as many as it has lanes. Include after a
// simd_*_inl.h.
#pragma once

#include "cpu/panels.h"

namespace cadre::CADRE_ISA {
namespace {

#define CADRE_UNROLL _Pragma("GCC unroll 16")

constexpr int kSlices = kPanelRows / kLanes;
// Where a slice begins among sixteen rows of `size` bytes each.
inline const uint8_t* SliceOf(const uint8_t* rows, int slice, int size) {
  return rows + slice * static_cast<int>(kLanes) * size;
}

inline VecF BroadcastF32(const uint8_t* p) {
  float value;
  __builtin_memcpy(&value, p, 4);
  return Broadcast(value);
}

// Four columns of a slice's rows.
inline VecI LoadLevels(const uint8_t* p, int slice) { return LoadInts(SliceOf(p, slice, 4)); }
inline VecI LowNibbles(VecI x) { return AndBytes(x, 15); }
inline VecI HighNibbles(VecI x) { return LowNibbles(ShiftRight16(x, 4)); }
// Bits [2 shift, 2 shift + 2) of each byte.
template <int kShift>
inline VecI TwoBits(VecI x) {
  return AndBytes(ShiftRight16(x, 2 * kShift), 3);
}
inline VecI Iq4Bytes(VecI nibbles) {  // levels + 128
  const __m128i table =
      _mm_setr_epi8(1, 24, 45, 63, 79, 93, 106, 118, char(129), char(141), char(153), char(166),
                    char(181), char(197), char(217), char(241));
  return LookUp(table, nibbles);
}

// What a record's scales come to. Blocks of 32: floats, per group and row.
struct RecordScales {
  alignas(64) float scale[2][16];
  alignas(64) float min[2][16];  // added once per activation
};
inline void WidenHalves(const uint8_t* from, float* to) {
  for (int i = 0; i < kSlices; ++i) StoreF32(to + i * kLanes, LoadF16(SliceOf(from, i, 2)));
}

// Blocks of 256: integers per part (of 32 columns, or sixteen) and row, and two floats per row.
struct WideScales {
  // The factor of a part's levels, see FactorOf. Folded types have it as bytes instead.
  alignas(64) int32_t scale[16][16];
  alignas(64) uint8_t bytes[16][16];
  // Two parts' minima (or offsets) as 16 bits, the factors of the sums of the activations.
  alignas(64) int32_t pairs[8][16];
  VecF d[kSlices];
  VecF min[kSlices];  // of the pairs
};
inline void LoadHalves(const uint8_t* from, VecF (&to)[kSlices]) {
  for (int i = 0; i < kSlices; ++i) to[i] = LoadF16(SliceOf(from, i, 2));
}
inline void LoadNegated(const uint8_t* from, VecF (&to)[kSlices]) {
  for (int i = 0; i < kSlices; ++i) to[i] = Sub(Zero(), LoadF16(SliceOf(from, i, 2)));
}
// Of a part's sixteen numbers, a signed byte each.
inline void StoreFactors(const uint8_t* rows, int32_t* to) {
  for (int i = 0; i < kSlices; ++i) StoreInts(to + i * kLanes, FactorOf(SliceOf(rows, i, 1)));
}
// Two numbers of each row as 16 bits.
inline VecI PairOf(VecI low, VecI high) { return OddWords(low, ShiftLeft32(high, 16)); }
inline void StorePairs(const uint8_t* low, const uint8_t* high, int32_t* to) {
  for (int i = 0; i < kSlices; ++i) {
    StoreInts(to + i * kLanes, PairOf(WideRows(SliceOf(low, i, 1)), WideRows(SliceOf(high, i, 1))));
  }
}

// A factor of levels that are multiplied before they meet the values, the same twice as 16 bits,
// and what is added afterwards.
struct FoldFactor {
  VecI times, plus;
};

// How a type's record is read. kOffset: what its levels are above their value. kMost: the highest
// level. kMins: a minimum is added to each value. kWide: blocks of 256, else two of 32, which are
// groups 0 and 1 of step 0. Levels<G>(record, step, j, slice) has columns [4j, 4j + 4) of group G
// of 32 columns of the step.
// Wide ones only: kHalves: parts are of sixteen columns, else of 32. A record is kSteps times
// kUnroll groups. kFolded: levels times the part's scale fit in a byte and are FoldedLevels, which
// are kFoldOffset above that. kDigits: in how many signed bytes level times scale fits.

// Blocks of 32: records of two.
template <bool kHasMins, int kLevelOffset, int kMostLevel>
struct OfTwoBlocks {
  static constexpr int kOffset = kLevelOffset, kMost = kMostLevel;
  static constexpr bool kWide = false, kMins = kHasMins;
  static constexpr int kLevelsAt = kHasMins ? 128 : 64;
  static void Scales(const uint8_t* w, RecordScales& s) {
    for (int g = 0; g < 2; ++g) {
      WidenHalves(w + 32 * g, s.scale[g]);
      if (kHasMins) WidenHalves(w + 64 + 32 * g, s.min[g]);
    }
  }
};

template <bool kHasMins, int kLevelOffset, int kMostLevel>
struct NibblesOfTwo : OfTwoBlocks<kHasMins, kLevelOffset, kMostLevel> {
  template <int G>
  static VecI Nibbles(const uint8_t* w, int j, int slice) {
    constexpr int kAt = OfTwoBlocks<kHasMins, kLevelOffset, kMostLevel>::kLevelsAt + 256 * G;
    const VecI x = LoadLevels(w + kAt + 64 * (j & 3), slice);
    return j < 4 ? LowNibbles(x) : HighNibbles(x);
  }
};
struct PanelQ4_0 : NibblesOfTwo<false, 8, 15> {
  template <int G>
  static VecI Levels(const uint8_t* w, int64_t, int j, int slice = 0) {
    return Nibbles<G>(w, j, slice);
  }
};
struct PanelQ4_1 : NibblesOfTwo<true, 0, 15> {
  template <int G>
  static VecI Levels(const uint8_t* w, int64_t, int j, int slice = 0) {
    return Nibbles<G>(w, j, slice);
  }
};
struct PanelIQ4_NL : NibblesOfTwo<false, 128, 255> {
  template <int G>
  static VecI Levels(const uint8_t* w, int64_t, int j, int slice = 0) {
    return Iq4Bytes(Nibbles<G>(w, j, slice));
  }
};
// The fifth bits: 64 in a row for each 64 bytes of levels.
template <bool kHasMins, int kLevelOffset>
struct FiveBitsOfTwo : NibblesOfTwo<kHasMins, kLevelOffset, 31> {
  using Base = NibblesOfTwo<kHasMins, kLevelOffset, 31>;
  template <int G>
  static VecI Levels(const uint8_t* w, int64_t, int j, int slice = 0) {
    const uint8_t* bits = w + Base::kLevelsAt + 512 + 64 * G + 8 * j + kLanes / 2 * slice;
    return AddWhereBit(Base::template Nibbles<G>(w, j, slice), bits, 16);
  }
};
using PanelQ5_0 = FiveBitsOfTwo<false, 16>;
using PanelQ5_1 = FiveBitsOfTwo<true, 0>;

struct PanelQ8_0 : OfTwoBlocks<false, 128, 255> {
  template <int G>
  static VecI Levels(const uint8_t* w, int64_t, int j, int slice = 0) {
    return LoadLevels(w + 64 + 512 * G + 64 * j, slice);
  }
};

// Six-bit scales and minima of eight sub-blocks: bytes 0 to 11 of the block, a row of sixteen each.
inline void ScaleMinsOfEight(const uint8_t* w, WideScales& s) {
  LoadHalves(w, s.d);
  LoadNegated(w + 32, s.min);
  alignas(64) uint8_t scales[8][16], mins[8][16];
  for (int64_t i = 0; i < 64; i += kIntBytes) {  // of four rows of numbers
    const VecI first = LoadInts(w + 64 + i), second = LoadInts(w + 128 + i),
               third = LoadInts(w + 192 + i);
    StoreInts(scales[i / 16], AndBytes(first, 63));
    StoreInts(mins[i / 16], AndBytes(second, 63));
    StoreInts(scales[4 + i / 16], TakeBits(third, 15, ShiftRight16(first, 2), 0x30));
    StoreInts(mins[4 + i / 16],
              TakeBits(ShiftRight16(third, 4), 15, ShiftRight16(second, 2), 0x30));
  }
  for (int j = 0; j < 8; ++j) StoreFactors(scales[j], s.scale[j]);
  for (int j = 0; j < 4; ++j) StorePairs(mins[2 * j], mins[2 * j + 1], s.pairs[j]);
}

struct PanelQ4_K {
  static constexpr int kOffset = 0, kFoldOffset = 0, kMost = 15;
  static constexpr bool kHalves = false, kMins = true;
  static constexpr int kUnroll = 2, kSteps = 4;
  static constexpr bool kWide = true, kFolded = false;
  static constexpr int kDigits = 2;
  static void Scales(const uint8_t* w, WideScales& s) { ScaleMinsOfEight(w, s); }
  template <int G>
  static VecI Levels(const uint8_t* w, int64_t step, int j, int slice = 0) {
    const VecI x = LoadLevels(w + 256 + 512 * step + 64 * j, slice);
    return G == 0 ? LowNibbles(x) : HighNibbles(x);
  }
};

struct PanelQ5_K {
  static constexpr int kOffset = 0, kFoldOffset = 0, kMost = 31;
  static constexpr bool kHalves = false, kMins = true;
  static constexpr int kUnroll = 2, kSteps = 4;
  static constexpr bool kWide = true, kFolded = false;
  static constexpr int kDigits = 2;
  static void Scales(const uint8_t* w, WideScales& s) { ScaleMinsOfEight(w, s); }
  template <int G>
  static VecI Levels(const uint8_t* w, int64_t step, int j, int slice = 0) {
    const VecI x = LoadLevels(w + 768 + 512 * step + 64 * j, slice);
    return AddWhereSet(G == 0 ? LowNibbles(x) : HighNibbles(x), LoadLevels(w + 256 + 64 * j, slice),
                       1 << (2 * step + G), 16);
  }
};

struct PanelQ6_K {
  static constexpr int kOffset = 32, kFoldOffset = 0, kMost = 63;
  static constexpr bool kHalves = true, kMins = false;
  static constexpr int kUnroll = 4, kSteps = 2;
  static constexpr bool kWide = true, kFolded = false;
  static constexpr int kDigits = 2;
  static void Scales(const uint8_t* w, WideScales& s) {
    LoadHalves(w, s.d);
    for (int j = 0; j < 16; ++j) StoreFactors(w + 64 + 16 * j, s.scale[j]);
  }
  template <int G>
  static VecI Levels(const uint8_t* w, int64_t step, int j, int slice = 0) {
    const VecI low = LoadLevels(w + 320 + 1024 * step + 512 * (G & 1) + 64 * j, slice);
    const VecI high = LoadLevels(w + 320 + 2048 + 512 * step + 64 * j, slice);
    const VecI nibble = G < 2 ? LowNibbles(low) : HighNibbles(low);
    const VecI shifted = G == 0   ? ShiftLeft16(high, 4)
                         : G == 1 ? ShiftLeft16(high, 2)
                         : G == 2 ? high
                                  : ShiftRight16(high, 2);
    return OrBits(nibble, shifted, 0x30);
  }
};

// Level times scale is -124 to 128, of which only the negative fits in a byte: so are scales and d.
struct PanelQ3_K {
  static constexpr int kOffset = 4, kFoldOffset = 128, kMost = 7;
  static constexpr bool kHalves = true, kMins = false;
  static constexpr int kUnroll = 4, kSteps = 2;
  static constexpr bool kWide = true, kFolded = true;
  static constexpr int kDigits = 1;
  // Against few tokens the second of a byte's levels stays where it is, eight times itself.
  static constexpr int StartTimes(int part) { return part % 8 / 3 == 1 ? 8 : 1; }
  static void Scales(const uint8_t* w, WideScales& s) {
    LoadNegated(w, s.d);
    for (int64_t i = 0; i < 64; i += kIntBytes) {  // of four rows of numbers
      const VecI high = LoadInts(w + 64 + 128 + i);
      const auto store = [&](int64_t j, VecI low, VecI two_bits) {
        StoreInts(s.bytes[j + i / 16], SubBytes(Broadcast8(32), TakeBits(low, 15, two_bits, 0x30)));
      };
      const VecI first = LoadInts(w + 64 + i), second = LoadInts(w + 128 + i);
      store(0, first, ShiftLeft16(high, 4));
      store(4, second, ShiftLeft16(high, 2));
      store(8, ShiftRight16(first, 4), high);
      store(12, ShiftRight16(second, 4), ShiftRight16(high, 2));
    }
  }
  static FoldFactor Factor(const WideScales& s, int64_t part) {
    const VecI times = ShiftRightSigned16(SpreadRows(s.bytes[part]), 8);
    // (level - 4) times + 128, two levels at once
    const VecI four = MulWords(times, Broadcast16(0x0404));
    return {times, SubWords(Broadcast16(static_cast<short>(0x8080)), four)};
  }
  // The two bytes are multiplied as one number: the lower one, 128 above its product, carries
  // nothing into the upper one.
  template <int G>
  static VecI FoldedLevels(const uint8_t* w, int64_t step, int j, const FoldFactor& factor) {
    return AddWords(MulWords(Levels<G>(w, step, j), factor.times), factor.plus);
  }
  // Eight levels lie in three bytes: six beside each other, of two more the lower bits above these,
  // and their third bits in the last byte.
  template <int G>
  static VecI Levels(const uint8_t* w, int64_t step, int j, int slice = 0) {
    const uint8_t* bytes = w + 256 + 768 * step + 192 * (j & 3);
    const int part = 2 * G + (j < 4 ? 0 : 1);
    if (part < 6) {
      const VecI x = LoadLevels(bytes + 64 * (part % 3), slice);
      return AndBytes(part < 3 ? x : ShiftRight16(x, 3), 7);
    }
    const VecI low = LoadLevels(bytes + 64 * (part - 6), slice);
    const VecI third = LoadLevels(bytes + 128, slice);
    return TakeBits(ShiftRight16(low, 6), 3, ShiftRight16(third, part - 2), 4);
  }
};

struct PanelQ2_K {
  static constexpr int kOffset = 0, kFoldOffset = 0, kMost = 3;
  static constexpr bool kHalves = true, kMins = true;
  static constexpr int kUnroll = 4, kSteps = 2;
  static constexpr bool kWide = true, kFolded = true;
  static constexpr int kDigits = 1;
  static void LevelScales(const uint8_t* w, WideScales& s) {
    LoadHalves(w, s.d);
    LoadNegated(w + 32, s.min);
    for (int64_t i = 0; i < 256; i += kIntBytes)
      StoreInts(s.bytes[i / 16], LowNibbles(LoadInts(w + 64 + i)));
  }
  static void Scales(const uint8_t* w, WideScales& s) {
    LevelScales(w, s);
    for (int k = 0; k < 8; ++k) {
      for (int i = 0; i < kSlices; ++i) {
        const uint8_t* rows = SliceOf(w + 64 + 32 * k, i, 1);
        StoreInts(s.pairs[k] + i * kLanes,
                  ShiftRight16(OddWords(SpreadRows(rows), SpreadRows(rows + 16)), 4 + 8));
      }
    }
  }
  static FoldFactor Factor(const WideScales& s, int64_t part) {
    return {ShiftRight16(SpreadRows(s.bytes[part]), 8), ZeroInts()};
  }
  // At most 3 times 15: two bytes are multiplied at once.
  template <int G>
  static VecI FoldedLevels(const uint8_t* w, int64_t step, int j, const FoldFactor& factor) {
    return MulWords(Levels<G>(w, step, j), factor.times);
  }
  template <int G>
  static VecI Levels(const uint8_t* w, int64_t step, int j, int slice = 0) {
    return TwoBits<G>(LoadLevels(w + 320 + 512 * step + 64 * j, slice));
  }
};

struct PanelIQ4_XS {
  static constexpr int kOffset = 128, kFoldOffset = 0, kMost = 255;
  static constexpr bool kHalves = false, kMins = false;
  static constexpr int kUnroll = 1, kSteps = 8;
  static constexpr bool kWide = true, kFolded = false;
  static constexpr int kDigits = 2;
  static void Scales(const uint8_t* w, WideScales& s) {
    LoadHalves(w, s.d);
    alignas(64) uint8_t bytes[2][4][16];
    for (int64_t i = 0; i < 64; i += kIntBytes) {
      // Rows of low bits: parts 0 2 4 6 in the lower halves of bytes, 1 3 5 7 in the upper ones.
      // Two rows of high bits, each of four parts.
      const VecI low = LoadIntsU(w + 96 + i);
      const VecI high = LoadRowsTwice(w + 64 + i / 2);
      const auto store = [&](int odd, VecI low_bits, VecI high_bits) {
        StoreInts(bytes[odd][i / 16],
                  SubBytes(TakeBits(low_bits, 15, high_bits, 0x30), Broadcast8(32)));
      };
      store(0, low, ShiftLeft16(high, 4));
      store(1, ShiftRight16(low, 4), ShiftLeft16(high, 2));
    }
    for (int j = 0; j < 8; ++j) StoreFactors(bytes[j % 2][j / 2], s.scale[j]);
  }
  template <int G>
  static VecI Levels(const uint8_t* w, int64_t step, int j, int slice = 0) {
    const VecI x = LoadLevels(w + 192 + 256 * step + 64 * (j & 3), slice);
    return Iq4Bytes(j < 4 ? LowNibbles(x) : HighNibbles(x));
  }
};

inline VecI Broadcast32(const uint8_t* p) {
  int32_t value;
  __builtin_memcpy(&value, p, 4);
  return BroadcastInt(value);
}

// The sum of the pairs times the sums of one token's values.
template <int kPairs>
inline VecI AddPairs(const WideScales& s, const uint8_t* extras, int slice) {
  VecI acc = ZeroInts();
  CADRE_UNROLL for (int i = 0; i < kPairs; ++i) {
    acc = AddWordDots(acc, LoadInts(s.pairs[i] + slice * kLanes),
                      Broadcast32(extras + kWideSumsAt + 4 * i));
  }
  return acc;
}

// out [kLanes] += what the whole numbers of a block come to for one token.
template <bool kMins, int kPairs>
inline void AddWideSums(VecI acc, const WideScales& s, const uint8_t* extras, float* out,
                        int slice = 0) {
  const VecF scale = BroadcastF32(extras);
  VecF sum = MulAdd(ToFloats(acc), Mul(s.d[slice], scale), LoadF32(out));
  if constexpr (kMins)
    sum = MulAdd(ToFloats(AddPairs<kPairs>(s, extras, slice)), Mul(s.min[slice], scale), sum);
  StoreF32(out, sum);
}

// Where few tokens are, the weights come from memory as fast as they are asked for.
constexpr int kPrefetchTokens = 12;
constexpr int64_t kPrefetchBytes = 4096;
inline void PrefetchRecord(const uint8_t* w, int64_t record_bytes) {
  for (int64_t i = 0; i < record_bytes; i += 64)
    _mm_prefetch(reinterpret_cast<const char*>(w + kPrefetchBytes + i), _MM_HINT_T0);
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
}  // namespace cadre::CADRE_ISA
