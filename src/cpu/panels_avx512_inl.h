// Products of packed panels on AVX-512 with VNNI: sixteen rows in the lanes of a register, tokens
// in registers beside each other, activations broadcast from memory. Include between
// simd_avx512_inl.h and kernels_inl.h.
#pragma once

#include "cpu/panels.h"

namespace cadre::avx512 {
namespace {

using VecI = __m512i;

#define CADRE_UNROLL _Pragma("GCC unroll 16")

inline VecI LoadLevels(const uint8_t* p) { return _mm512_load_si512(p); }
// acc[r] += four levels of row r (unsigned) times four values of a token (signed), which are
// broadcast from memory. The compiler would spend an instruction on that.
inline void AddDots(VecI& acc, VecI levels, const uint8_t* values) {
  asm("vpdpbusd %2%{1to16%}, %1, %0"
      : "+v"(acc)
      : "v"(levels), "m"(*reinterpret_cast<const int32_t*>(values)));
}
inline VecI Broadcast32(const uint8_t* p) {
  int32_t value;
  __builtin_memcpy(&value, p, 4);
  return _mm512_set1_epi32(value);
}
inline VecF BroadcastF32(const uint8_t* p) {
  float value;
  __builtin_memcpy(&value, p, 4);
  return _mm512_set1_ps(value);
}
inline VecF LoadHalves(const uint8_t* p) {
  return _mm512_cvtph_ps(_mm256_load_si256(reinterpret_cast<const __m256i*>(p)));
}
// Sixteen bytes, one per row, as floats.
inline VecF RowsOfU8(__m128i bytes) { return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes)); }
inline VecF RowsOfI8(__m128i bytes) { return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes)); }
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

// What a record's scales come to: per group (or half of one) and row.
struct RecordScales {
  alignas(64) float scale[16][16];
  alignas(64) float min[16][16];  // added once per activation
};
inline void StoreRows(float* to, VecF x) { _mm512_store_ps(to, x); }

// How a type's record is read. kOffset: what its levels are above their value. kHalves: scales are
// per sixteen columns. kMins: a minimum is added to each value. A record is kSteps times kUnroll
// groups; Levels<G>(record, step, j) has columns [4j, 4j + 4) of group G of the step.

// Blocks of 32: records of two.
template <bool kHasMins, int kLevelOffset>
struct OfTwoBlocks {
  static constexpr int kOffset = kLevelOffset;
  static constexpr bool kHalves = false, kMins = kHasMins;
  static constexpr int kUnroll = 2, kSteps = 1;
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
inline void ScaleMinsOfEight(const uint8_t* w, RecordScales& s) {
  const VecF d = LoadHalves(w);
  const VecF negative_dmin = Sub(Zero(), LoadHalves(w + 32));
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
    StoreRows(s.scale[j], Mul(d, RowsOfU8(scale)));
    StoreRows(s.min[j], Mul(negative_dmin, RowsOfU8(min)));
  }
}

struct PanelQ4_K {
  static constexpr int kOffset = 0;
  static constexpr bool kHalves = false, kMins = true;
  static constexpr int kUnroll = 2, kSteps = 4;
  static void Scales(const uint8_t* w, RecordScales& s) { ScaleMinsOfEight(w, s); }
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
  static void Scales(const uint8_t* w, RecordScales& s) { ScaleMinsOfEight(w, s); }
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
  static void Scales(const uint8_t* w, RecordScales& s) {
    const VecF d = LoadHalves(w);
    for (int j = 0; j < 16; ++j) StoreRows(s.scale[j], Mul(d, RowsOfI8(LoadRows(w + 64 + 16 * j))));
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
  static void Scales(const uint8_t* w, RecordScales& s) {
    const VecF d = LoadHalves(w);
    const auto byte = [&](int i) { return LoadRows(w + 64 + 16 * i); };
    for (int j = 0; j < 16; ++j) {
      const __m128i low = AndRows(j < 8 ? byte(j) : _mm_srli_epi16(byte(j - 8), 4), 15);
      const __m128i high =
          AndRows(_mm_srl_epi16(byte(8 + j % 4), _mm_cvtsi32_si128(2 * (j / 4))), 3);
      const __m128i scale =
          _mm_sub_epi8(_mm_or_si128(low, _mm_slli_epi16(high, 4)), _mm_set1_epi8(32));
      StoreRows(s.scale[j], Mul(d, RowsOfI8(scale)));
    }
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
  static void Scales(const uint8_t* w, RecordScales& s) {
    const VecF d = LoadHalves(w);
    const VecF negative_dmin = Sub(Zero(), LoadHalves(w + 32));
    for (int j = 0; j < 16; ++j) {
      const __m128i both = LoadRows(w + 64 + 16 * j);
      StoreRows(s.scale[j], Mul(d, RowsOfU8(AndRows(both, 15))));
      StoreRows(s.min[j], Mul(negative_dmin, RowsOfU8(AndRows(_mm_srli_epi16(both, 4), 15))));
    }
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
  static void Scales(const uint8_t* w, RecordScales& s) {
    const VecF d = LoadHalves(w);
    for (int j = 0; j < 8; ++j) {
      const __m128i low = AndRows(
          _mm_srl_epi16(LoadRows(w + 64 + 32 + 16 * (j / 2)), _mm_cvtsi32_si128(4 * (j % 2))), 15);
      const __m128i high = AndRows(
          _mm_srl_epi16(LoadRows(w + 64 + 16 * (j / 4)), _mm_cvtsi32_si128(2 * (j % 4))), 3);
      const __m128i scale =
          _mm_sub_epi8(_mm_or_si128(low, _mm_slli_epi16(high, 4)), _mm_set1_epi8(32));
      StoreRows(s.scale[j], Mul(d, RowsOfI8(scale)));
    }
  }
  template <int G>
  static VecI Levels(const uint8_t* w, int64_t step, int j) {
    const VecI x = LoadLevels(w + 192 + 256 * step + 64 * (j & 3));
    return Iq4Bytes(j < 4 ? LowNibbles(x) : HighNibbles(x));
  }
};

// One group of 32 columns: T tokens times sixteen rows, into the sums.
template <typename P, int T, int G>
inline void AddGroup(const uint8_t* w, int64_t step, const RecordScales& s, const uint8_t* x,
                     VecF (&sums)[T]) {
  const int64_t group = step * P::kUnroll + G;
  const uint8_t* scales = x + 32 * T;
  const uint8_t* extras = x + 36 * T;
  constexpr int kParts = P::kHalves ? 2 : 1;
  constexpr int kQuads = 8 / kParts;
  CADRE_UNROLL for (int part = 0; part < kParts; ++part) {
    VecI acc[T];
    CADRE_UNROLL for (int t = 0; t < T; ++t) {
      acc[t] = P::kMins || P::kOffset == 0 ? _mm512_setzero_si512()
                                           : Broadcast32(extras + 4 * (part * T + t));
    }
    CADRE_UNROLL for (int q = 0; q < kQuads; ++q) {
      const int j = part * kQuads + q;
      const VecI levels = P::template Levels<G>(w, step, j);
      CADRE_UNROLL for (int t = 0; t < T; ++t) AddDots(acc[t], levels, x + 32 * t + 4 * j);
    }
    const VecF scale = _mm512_load_ps(s.scale[group * kParts + part]);
    CADRE_UNROLL for (int t = 0; t < T; ++t) {
      sums[t] =
          MulAdd(_mm512_cvtepi32_ps(acc[t]), Mul(scale, BroadcastF32(scales + 4 * t)), sums[t]);
    }
    if constexpr (P::kMins) {
      const VecF min = _mm512_load_ps(s.min[group * kParts + part]);
      CADRE_UNROLL for (int t = 0; t < T; ++t) sums[t] =
          MulAdd(min, BroadcastF32(extras + 4 * (part * T + t)), sums[t]);
    }
  }
}

constexpr int64_t kPrefetchBytes = 4096;

template <typename P, int T>
void RunTile(const uint8_t* w, const uint8_t* x, int64_t records, int64_t record_bytes,
             float* out) {
  VecF sums[T];
  CADRE_UNROLL for (int t = 0; t < T; ++t) sums[t] = LoadF32(out + 16 * t);
  for (int64_t r = 0; r < records; ++r) {
    if constexpr (T <= 4) {
      for (int64_t i = 0; i < record_bytes; i += 64)
        _mm_prefetch(reinterpret_cast<const char*>(w + kPrefetchBytes + i), _MM_HINT_T0);
    }
    RecordScales s;
    P::Scales(w, s);
    for (int64_t step = 0; step < P::kSteps; ++step) {
      AddGroup<P, T, 0>(w, step, s, x, sums);
      x += 44 * T;
      if constexpr (P::kUnroll > 1) {
        AddGroup<P, T, 1>(w, step, s, x, sums);
        x += 44 * T;
      }
      if constexpr (P::kUnroll > 2) {
        AddGroup<P, T, 2>(w, step, s, x, sums);
        x += 44 * T;
        AddGroup<P, T, 3>(w, step, s, x, sums);
        x += 44 * T;
      }
    }
    w += record_bytes;
  }
  CADRE_UNROLL for (int t = 0; t < T; ++t) StoreF32(out + 16 * t, sums[t]);
}

template <typename P>
void RunTileOf(const PanelDots& d, int64_t record_bytes) {
  const auto* w = reinterpret_cast<const uint8_t*>(d.panel);
  const auto* x = reinterpret_cast<const uint8_t*>(d.tile);
  switch (d.tokens) {
#define CADRE_TILE(T)                                     \
  case T:                                                 \
    RunTile<P, T>(w, x, d.records, record_bytes, d.sums); \
    break;
    CADRE_TILE(1)
    CADRE_TILE(2)
    CADRE_TILE(3)
    CADRE_TILE(4)
    CADRE_TILE(5)
    CADRE_TILE(6)
    CADRE_TILE(7)
    CADRE_TILE(8)
    CADRE_TILE(9)
    CADRE_TILE(10)
    CADRE_TILE(11)
    CADRE_TILE(12)
#undef CADRE_TILE
  }
}

// Calls function.template operator()<Panel...>() for the type.
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

inline void RunPanelDots(const PanelDots& dots) {
  const int64_t record_bytes = PanelRecordOf(dots.type).bytes;
  WithPanel(dots.type, [&](auto panel) { RunTileOf<decltype(panel)>(dots, record_bytes); });
}

// `count` bytes at `offset` of each row's block, four columns of sixteen rows together.
inline void PackQuads(const uint8_t* const* blocks, int64_t offset, int64_t count, uint8_t* out) {
  for (int64_t i = 0; i < count; i += 4) {
    for (int64_t r = 0; r < kPanelRows; ++r) {
      if (blocks[r] != nullptr) __builtin_memcpy(out + 16 * i + 4 * r, blocks[r] + offset + i, 4);
    }
  }
}
// `count` numbers of `size` bytes at `offset`, each as a row of sixteen.
inline void PackRows(const uint8_t* const* blocks, int64_t offset, int64_t count, int64_t size,
                     uint8_t* out) {
  for (int64_t i = 0; i < count; ++i) {
    for (int64_t r = 0; r < kPanelRows; ++r) {
      if (blocks[r] == nullptr) continue;
      __builtin_memcpy(out + size * (16 * i + r), blocks[r] + offset + size * i,
                       static_cast<size_t>(size));
    }
  }
}

// Block g of two of the types of 32.
inline void PackBlockOf32(DType type, const uint8_t* const* blocks, int g, uint8_t* out) {
  const bool has_mins = type == DType::kQ4_1 || type == DType::kQ5_1;
  const bool has_fifth = type == DType::kQ5_0 || type == DType::kQ5_1;
  const int64_t fifth_at = has_mins ? 4 : 2;
  const int64_t levels_at = fifth_at + (has_fifth ? 4 : 0);
  uint8_t* levels = out + (has_mins ? 128 : 64);
  PackRows(blocks, 0, 1, 2, out + 32 * g);
  if (has_mins) PackRows(blocks, 2, 1, 2, out + 64 + 32 * g);
  if (type == DType::kQ8_0) {
    PackQuads(blocks, 2, 32, levels + 512 * g);
    for (int i = 0; i < 512; ++i) levels[512 * g + i] ^= 0x80;
    return;
  }
  PackQuads(blocks, levels_at, 16, levels + 256 * g);
  if (!has_fifth) return;
  for (int r = 0; r < kPanelRows; ++r) {
    if (blocks[r] == nullptr) continue;
    uint32_t bits;
    __builtin_memcpy(&bits, blocks[r] + fifth_at, 4);
    // Of each 64 bytes of levels, four columns of a row are four bytes in a row: so their bits.
    for (int quad = 0; quad < 8; ++quad) {
      levels[512 + 64 * g + 8 * quad + r / 2] |=
          static_cast<uint8_t>((bits >> 4 * quad & 15) << 4 * (r % 2));
    }
  }
}

inline void PackBlockOf256(DType type, const uint8_t* const* blocks, uint8_t* out) {
  switch (type) {
    case DType::kQ2_K:
      PackRows(blocks, 80, 2, 2, out);
      PackRows(blocks, 0, 16, 1, out + 64);
      PackQuads(blocks, 16, 64, out + 320);
      break;
    case DType::kQ3_K:
      PackRows(blocks, 108, 1, 2, out);
      PackRows(blocks, 96, 12, 1, out + 64);
      PackQuads(blocks, 0, 32, out + 256);
      PackQuads(blocks, 32, 64, out + 768);
      break;
    case DType::kQ4_K:
      PackRows(blocks, 0, 2, 2, out);
      PackRows(blocks, 4, 12, 1, out + 64);
      PackQuads(blocks, 16, 128, out + 256);
      break;
    case DType::kQ5_K:
      PackRows(blocks, 0, 2, 2, out);
      PackRows(blocks, 4, 12, 1, out + 64);
      PackQuads(blocks, 16, 32, out + 256);
      PackQuads(blocks, 48, 128, out + 768);
      break;
    case DType::kQ6_K:
      PackRows(blocks, 208, 1, 2, out);
      PackRows(blocks, 192, 16, 1, out + 64);
      PackQuads(blocks, 0, 128, out + 320);
      PackQuads(blocks, 128, 64, out + 320 + 2048);
      break;
    case DType::kIQ4_XS:
      PackRows(blocks, 0, 1, 2, out);
      PackRows(blocks, 2, 2, 1, out + 64);
      PackRows(blocks, 4, 4, 1, out + 96);
      PackQuads(blocks, 8, 128, out + 192);
      break;
    default:
      break;
  }
}

inline void PackPanel(const PanelSource& source, std::byte* panel) {
  const PanelRecord record = PanelRecordOf(source.type);
  const int64_t records = PanelRecords(source.type, source.cols);
  const int64_t block_cols = record.cols == 64 ? 32 : 256;
  const int64_t block_bytes = source.row_bytes / (source.cols / block_cols);
  auto* out = reinterpret_cast<uint8_t*>(panel);
  __builtin_memset(out, 0, static_cast<size_t>(records * record.bytes));
  const auto* begin = reinterpret_cast<const uint8_t*>(source.rows_begin);
  for (int64_t i = 0; i < records; ++i, out += record.bytes) {
    for (int64_t b = 0; b < record.cols / block_cols; ++b) {
      const int64_t block = i * (record.cols / block_cols) + b;
      const uint8_t* blocks[kPanelRows] = {};
      for (int64_t r = 0; r < source.rows && block < source.cols / block_cols; ++r)
        blocks[r] = begin + r * source.row_bytes + block * block_bytes;
      if (record.cols == 64) {
        PackBlockOf32(source.type, blocks, static_cast<int>(b), out);
      } else {
        PackBlockOf256(source.type, blocks, out);
      }
    }
  }
}

// As RoundRow: groups of 32 to nearest even at scale amax / 127. What is not finite has a scale
// that is not, and levels of zero.
template <typename P>
void RoundTileOf(const TileSource& source, int64_t groups, uint8_t* tile) {
  const int64_t tokens = source.tokens;
  for (int64_t t = 0; t < tokens; ++t) {
    const float* x = source.x + t * source.x_stride;
    for (int64_t g = 0; g < groups; ++g) {
      uint8_t* group = tile + g * TileGroupBytes(tokens);
      auto* values = reinterpret_cast<int8_t*>(group + 32 * t);
      float scale = 0;
      int32_t sums[2] = {0, 0};
      __builtin_memset(values, 0, 32);
      if (32 * g < source.cols) {
        scale = MaxMagnitude(x + 32 * g, 32) / 127;
        const float inverse = 1 / scale;
        if (inverse > 0 && inverse < __builtin_inff()) {
          for (int64_t i = 0; i < 32; i += kLanes)
            StoreAsI8N(values + i, LoadF32(x + 32 * g + i), inverse, kLanes);
          for (int i = 0; i < 16; ++i) sums[0] += values[i];
          for (int i = 16; i < 32; ++i) sums[1] += values[i];
        }
      }
      if (!P::kHalves) sums[0] += sums[1];
      __builtin_memcpy(group + 32 * tokens + 4 * t, &scale, 4);
      for (int part = 0; part < 2; ++part) {
        uint8_t* extra = group + 36 * tokens + 4 * (part * tokens + t);
        if constexpr (P::kMins) {
          const float sum = scale * static_cast<float>(sums[part]);
          __builtin_memcpy(extra, &sum, 4);
        } else {
          const int32_t start = -P::kOffset * sums[part];
          __builtin_memcpy(extra, &start, 4);
        }
      }
    }
  }
}

inline void RoundTile(const TileSource& source, std::byte* tile) {
  const PanelRecord record = PanelRecordOf(source.type);
  const int64_t groups = PanelRecords(source.type, source.cols) * (record.cols / kTileGroup);
  WithPanel(source.type, [&](auto panel) {
    RoundTileOf<decltype(panel)>(source, groups, reinterpret_cast<uint8_t*>(tile));
  });
}

constexpr PanelKernels kPanels = {.pack = PackPanel, .round = RoundTile, .dots = RunPanelDots};
constexpr const PanelKernels* kPanelKernels = &kPanels;

}  // namespace
}  // namespace cadre::avx512
