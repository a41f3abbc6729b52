// Products of panels with blocks of 256 on AMX: levels times scales as one or two signed bytes, so
// that products go over the whole block before they are stored. With two, value = low + 128 high.
// While tiles are multiplied the products of those before are added: the unit and the vectors work
// side by side where their instructions lie between each other. Include in kernels_amx.cc only.
#pragma once

#include "cpu/panel_types_inl.h"
#include "cpu/tiles_amx_inl.h"

namespace cadre::avx512 {
namespace {

struct FoldedBlock {
  alignas(64) int8_t bytes[2][256 * kPanelRows];
  WideScales scales;
};

// What is in the low half of each 16 bits, and in the high half, as signed 16 bits.
inline VecI EvenBytes(VecI x) { return _mm512_srai_epi16(_mm512_slli_epi16(x, 8), 8); }
inline VecI OddBytes(VecI x) { return _mm512_srai_epi16(x, 8); }
// The low bytes of both.
inline VecI Interleave(VecI even, VecI odd) {
  return _mm512_or_si512(_mm512_and_si512(even, _mm512_set1_epi16(0xff)),
                         _mm512_slli_epi16(odd, 8));
}

template <typename P, int G>
inline void FoldGroup(const uint8_t* w, int64_t step, FoldedBlock& out) {
  constexpr int kParts = P::kHalves ? 2 : 1;
  constexpr int kQuads = 8 / kParts;
  const int64_t group = step * P::kUnroll + G;
  CADRE_UNROLL for (int part = 0; part < kParts; ++part) {
    if constexpr (P::kFolded) {
      const FoldFactor factor = P::Factor(out.scales, group * kParts + part);
      CADRE_UNROLL for (int j = part * kQuads; j < (part + 1) * kQuads; ++j) {
        const VecI x = P::template FoldedLevels<G>(w, step, j, factor);
        const VecI above = _mm512_set1_epi8(static_cast<char>(P::kFoldOffset));
        _mm512_store_si512(out.bytes[0] + 512 * group + 64 * j,
                           P::kFoldOffset == 0 ? x : _mm512_sub_epi8(x, above));
      }
    } else {
      const VecI scale = LoadInts(out.scales.scale[group * kParts + part]);
      const VecI words = PairOf(scale, scale);
      CADRE_UNROLL for (int j = part * kQuads; j < (part + 1) * kQuads; ++j) {
        int8_t* low = out.bytes[0] + 512 * group + 64 * j;
        int8_t* high = out.bytes[1] + 512 * group + 64 * j;
        VecI x = P::template Levels<G>(w, step, j);
        if (P::kOffset != 0)
          x = _mm512_sub_epi8(x, _mm512_set1_epi8(static_cast<char>(P::kOffset)));
        const VecI even = _mm512_mullo_epi16(EvenBytes(x), words);
        const VecI odd = _mm512_mullo_epi16(OddBytes(x), words);
        const VecI seven_bits = _mm512_set1_epi8(127);
        _mm512_store_si512(low, _mm512_and_si512(Interleave(even, odd), seven_bits));
        _mm512_store_si512(high, Interleave(_mm512_srai_epi16(even, 7), _mm512_srai_epi16(odd, 7)));
      }
    }
  }
}

template <typename P>
inline void Fold(const uint8_t* w, FoldedBlock& out) {
  P::Scales(w, out.scales);
  for (int64_t step = 0; step < P::kSteps; ++step) {
    FoldGroup<P, 0>(w, step, out);
    if constexpr (P::kUnroll > 1) FoldGroup<P, 1>(w, step, out);
    if constexpr (P::kUnroll > 2) {
      FoldGroup<P, 2>(w, step, out);
      FoldGroup<P, 3>(w, step, out);
    }
  }
}

// What a panel's scales are to every token of a tile, held in registers.
template <typename P>
struct HeldScales {
  static constexpr int kPairs = P::kMins ? (P::kHalves ? 8 : 4) : 0;

  explicit HeldScales(const WideScales& s) : d(s.d[0]) {
    if constexpr (P::kMins) {
      min = s.min[0];
      CADRE_UNROLL for (int i = 0; i < kPairs; ++i) pairs[i] = LoadInts(s.pairs[i]);
    }
  }

  // As AddWideSums; the sum of the pairs is a whole number, in whatever order.
  void Add(VecI acc, const uint8_t* extras, float* out) const {
    const VecF scale = BroadcastF32(extras);
    VecF sum = MulAdd(ToFloats(acc), Mul(d, scale), LoadF32(out));
    if constexpr (P::kMins) {
      VecI mins[2] = {ZeroInts(), ZeroInts()};
      CADRE_UNROLL for (int i = 0; i < kPairs; ++i) {
        mins[i % 2] = AddWordDots(mins[i % 2], pairs[i], Broadcast32(extras + kWideSumsAt + 4 * i));
      }
      sum = MulAdd(ToFloats(_mm512_add_epi32(mins[0], mins[1])), Mul(min, scale), sum);
    }
    StoreF32(out, sum);
  }

  VecF d, min;
  VecI pairs[kPairs + 1];
};

// Planes that are multiplied at once with a tile of tokens: those of four panels with one digit, or
// of two with both.
constexpr int kWidePlanes = 4;

// A tile and the blocks it meets.
template <typename P, int kPanels>
struct WideUnit {
  const uint8_t* tile;
  int64_t tokens = 0;
  float* sums;  // of the first panel
  alignas(64) int32_t products[kPanels * P::kDigits][kMaxTileTokens * kPanelRows];  // of each plane
};

// A quarter of the sums that the products of a unit still have to be added to, part by part.
template <typename P, int kPanels>
class WideQuarter {
 public:
  WideQuarter(const WideUnit<P, kPanels>& unit, const FoldedBlock* blocks, int64_t sums_stride,
              int quarter)
      : unit_(unit),
        panel_(quarter * kPanels / 4),
        begin_(quarter % (4 / kPanels) * unit.tokens * kPanels / 4),
        count_((quarter % (4 / kPanels) + 1) * unit.tokens * kPanels / 4 - begin_),
        sums_(unit.sums + panel_ * sums_stride),
        scales_(blocks[panel_].scales) {}

  void Add(int part, int num_parts) const {
    const int32_t* low = unit_.products[panel_ * P::kDigits];
    const int32_t* high = unit_.products[panel_ * P::kDigits + P::kDigits - 1];
    const uint8_t* extras = unit_.tile + 256 * unit_.tokens;
    const int64_t end = begin_ + (part + 1) * count_ / num_parts;
    for (int64_t t = begin_ + part * count_ / num_parts; t < end; ++t) {
      VecI acc = LoadInts(low + kPanelRows * t);
      if constexpr (P::kDigits == 2)
        acc = _mm512_add_epi32(acc, _mm512_slli_epi32(LoadInts(high + kPanelRows * t), 7));
      scales_.Add(acc, extras + kWideExtraBytes * t, sums_ + kPanelRows * t);
    }
  }

 private:
  const WideUnit<P, kPanels>& unit_;
  const int panel_;
  const int64_t begin_, count_;
  float* const sums_;
  const HeldScales<P> scales_;
};

// The products of `unit`, and between them the sums of the one before. Registers 0 to 3: products
// with each plane; 4: tokens; 6 and 7: planes.
template <typename P, int kPanels>
inline void MultiplyUnit(const FoldedBlock* blocks, WideUnit<P, kPanels>& unit,
                         const WideUnit<P, kPanels>& before, int64_t sums_stride) {
  constexpr int kPlanes = kPanels * P::kDigits;
  const int64_t row = 256, line = 64;
  asm volatile("tilezero %%tmm0\n\ttilezero %%tmm1\n\ttilezero %%tmm2\n\ttilezero %%tmm3" ::
                   : "memory");
  CADRE_UNROLL for (int k = 0; k < 4; ++k) {
    asm volatile("tileloadd (%0,%1,1), %%tmm4" ::"r"(unit.tile + 64 * k), "r"(row) : "memory");
    const WideQuarter<P, kPanels> quarter(before, blocks, sums_stride, k);
#define CADRE_PLANE(I, LEVELS)                                                               \
  if constexpr (I < kPlanes) {                                                               \
    asm volatile(                                                                            \
        "tileloadd (%0,%1,1), %%" LEVELS "\n\ttdpbssd %%" LEVELS                             \
        ", %%tmm4, %%tmm" #I ::"r"(blocks[I / P::kDigits].bytes[I % P::kDigits] + 1024 * k), \
        "r"(line)                                                                            \
        : "memory");                                                                         \
    quarter.Add(I, kPlanes);                                                                 \
  }
    CADRE_PLANE(0, "tmm6")
    CADRE_PLANE(1, "tmm7")
    CADRE_PLANE(2, "tmm6")
    CADRE_PLANE(3, "tmm7")
#undef CADRE_PLANE
  }
#define CADRE_PLANE(I)                                                                 \
  if constexpr (I < kPlanes) {                                                         \
    int32_t* to = unit.products[I];                                                    \
    asm volatile("tilestored %%tmm" #I ", (%0,%1,1)" ::"r"(to), "r"(line) : "memory"); \
  }
  CADRE_PLANE(0)
  CADRE_PLANE(1)
  CADRE_PLANE(2)
  CADRE_PLANE(3)
#undef CADRE_PLANE
}

// Some panels, from `first_panel` on, with all tiles.
template <typename P, int kPanels>
void RunWidePanels(const PanelDots& d, int64_t first_panel) {
  const PanelRecord record = PanelRecordOf(d.type);
  const int64_t sums_stride = kPanelRows * d.tiles.tokens;
  FoldedBlock folded[kPanels];
  WideUnit<P, kPanels> units[2];
  for (int64_t r = 0; r < d.records; ++r) {
    for (int64_t p = 0; p < kPanels; ++p) {
      const auto* w = reinterpret_cast<const uint8_t*>(
          d.panels + (first_panel + p) * d.panel_bytes + r * record.bytes);
      PrefetchRecord(w, record.bytes);
      Fold<P>(w, folded[p]);
    }
    units[1].tokens = 0;  // none before the first
    for (int64_t i = 0; i < d.tiles.count; ++i) {
      const int64_t begin = TileBegin(d.tiles, i);
      WideUnit<P, kPanels>& unit = units[i % 2];
      unit.tile = reinterpret_cast<const uint8_t*>(
          d.tiles.data + TileOffset(d.type, d.tiles, i, d.first_record + r));
      unit.tokens = TileBegin(d.tiles, i + 1) - begin;
      unit.sums = d.sums + first_panel * sums_stride + kPanelRows * begin;
      MultiplyUnit<P, kPanels>(folded, unit, units[1 - i % 2], sums_stride);
    }
    for (int k = 0; k < 4; ++k) {
      WideQuarter<P, kPanels>(units[(d.tiles.count - 1) % 2], folded, sums_stride, k).Add(0, 1);
    }
  }
}

template <typename P>
void RunPanelsOf256(const PanelDots& d) {
  constexpr int kPanels = kWidePlanes / P::kDigits;
  ConfigureTiles(MostTileTokens(d.tiles), 64);
  int64_t p = 0;
  for (; p + kPanels <= d.num_panels; p += kPanels) RunWidePanels<P, kPanels>(d, p);
  for (; p < d.num_panels; ++p) RunWidePanels<P, 1>(d, p);
}

}  // namespace
}  // namespace cadre::avx512
