// Products of panels with blocks of 32 on AMX: one product per group, scaled by vectors. Include in
// kernels_amx.cc only.
#pragma once

#include "cpu/panel_types_inl.h"
#include "cpu/tiles_amx_inl.h"

namespace cadre::avx512 {
namespace {

constexpr int64_t kPassCols = 1024;
constexpr int64_t kMaxPassPanels = 4;

// Some columns of a panel as bytes, and what scales and minima come to.
struct UnpackedPanel {
  alignas(64) int8_t levels[kPassCols * kPanelRows];
  alignas(64) float scales[kPassCols / 32][kPanelRows];
  alignas(64) float mins[kPassCols / 32][kPanelRows];
};

template <typename P, int G>
inline void UnpackGroup(const uint8_t* w, int8_t* levels) {
  CADRE_UNROLL for (int j = 0; j < 8; ++j) {
    const VecI x = P::template Levels<G>(w, 0, j);
    _mm512_store_si512(levels + 64 * j,
                       _mm512_sub_epi8(x, _mm512_set1_epi8(static_cast<char>(P::kOffset))));
  }
}

template <typename P>
void Unpack(const uint8_t* w, int64_t records, int64_t record_bytes, UnpackedPanel& out) {
  int8_t* levels = out.levels;
  for (int64_t r = 0; r < records; ++r, w += record_bytes) {
    PrefetchRecord(w, record_bytes);
    RecordScales s;
    P::Scales(w, s);
    for (int64_t i = 0; i < 2; ++i) {
      _mm512_store_ps(out.scales[2 * r + i], _mm512_load_ps(s.scale[i]));
      if (P::kMins) _mm512_store_ps(out.mins[2 * r + i], _mm512_load_ps(s.min[i]));
    }
    UnpackGroup<P, 0>(w, levels);
    UnpackGroup<P, 1>(w, levels + 512);
    levels += 1024;
  }
}

// products [tokens][16] = 32 signed bytes of each token times signed levels.
template <int kSlot>
inline void Multiply(const uint8_t* tokens, const int8_t* levels, int32_t* products) {
  if constexpr (kSlot == 0) {
    asm volatile(
        "tilezero %%tmm0\n\t"
        "tileloadd (%0,%3,1), %%tmm4\n\t"
        "tileloadd (%1,%4,1), %%tmm6\n\t"
        "tdpbssd %%tmm6, %%tmm4, %%tmm0\n\t"
        "tilestored %%tmm0, (%2,%4,1)"
        :
        : "r"(tokens), "r"(levels), "r"(products), "r"(int64_t{32}), "r"(int64_t{64})
        : "memory");
  } else {
    asm volatile(
        "tilezero %%tmm1\n\t"
        "tileloadd (%0,%3,1), %%tmm5\n\t"
        "tileloadd (%1,%4,1), %%tmm7\n\t"
        "tdpbssd %%tmm7, %%tmm5, %%tmm1\n\t"
        "tilestored %%tmm1, (%2,%4,1)"
        :
        : "r"(tokens), "r"(levels), "r"(products), "r"(int64_t{32}), "r"(int64_t{64})
        : "memory");
  }
}

// T tokens of a tile with some groups of an unpacked panel, an even number, into sums [T][16]. The
// products of a group are made while those of the group before are scaled.
template <bool kMins, int T>
void RunTile(const UnpackedPanel& panel, const uint8_t* tile, int64_t groups, float* out) {
  alignas(64) int32_t products[2][kMaxTileTokens * kPanelRows];
  VecF sums[T];
  CADRE_UNROLL for (int t = 0; t < T; ++t) sums[t] = LoadF32(out + 16 * t);
  const auto scale = [&](int64_t g, const int32_t* from) __attribute__((always_inline)) {
    const uint8_t* scales = tile + g * TileGroupBytes(32, T) + 32 * T;
    const uint8_t* extras = scales + 4 * T;
    const VecF row_scale = _mm512_load_ps(panel.scales[g]);
    CADRE_UNROLL for (int t = 0; t < T; ++t) {
      sums[t] = MulAdd(_mm512_cvtepi32_ps(LoadInts(from + 16 * t)),
                       Mul(row_scale, BroadcastF32(scales + 4 * t)), sums[t]);
    }
    if constexpr (kMins) {
      const VecF min = _mm512_load_ps(panel.mins[g]);
      CADRE_UNROLL for (int t = 0; t < T; ++t) sums[t] =
          MulAdd(min, BroadcastF32(extras + 4 * t), sums[t]);
    }
  };
  const auto tokens_of = [&](int64_t g) { return tile + g * TileGroupBytes(32, T); };
  Multiply<0>(tile, panel.levels, products[0]);
  for (int64_t g = 0; g < groups; g += 2) {
    Multiply<1>(tokens_of(g + 1), panel.levels + 512 * (g + 1), products[1]);
    scale(g, products[0]);
    if (g + 2 < groups) Multiply<0>(tokens_of(g + 2), panel.levels + 512 * (g + 2), products[0]);
    scale(g + 1, products[1]);
  }
  CADRE_UNROLL for (int t = 0; t < T; ++t) StoreF32(out + 16 * t, sums[t]);
}

template <typename P>
void RunPanelsOf32(const PanelDots& d) {
  const PanelRecord record = PanelRecordOf(d.type);
  const int64_t pass_records = kPassCols / record.cols;
  const int64_t pass_panels = d.tiles.count == 1 ? 1 : kMaxPassPanels;
  UnpackedPanel unpacked[kMaxPassPanels];
  ConfigureTiles(MostTileTokens(d.tiles), 32);
  for (int64_t first_panel = 0; first_panel < d.num_panels; first_panel += pass_panels) {
    const int64_t left = d.num_panels - first_panel;
    const int64_t panels = left < pass_panels ? left : pass_panels;
    for (int64_t r = 0; r < d.records; r += pass_records) {
      const int64_t records = d.records - r < pass_records ? d.records - r : pass_records;
      for (int64_t p = 0; p < panels; ++p) {
        Unpack<P>(reinterpret_cast<const uint8_t*>(d.panels + (first_panel + p) * d.panel_bytes +
                                                   r * record.bytes),
                  records, record.bytes, unpacked[p]);
      }
      for (int64_t i = 0; i < d.tiles.count; ++i) {
        const int64_t begin = TileBegin(d.tiles, i);
        const int64_t tokens = TileBegin(d.tiles, i + 1) - begin;
        const std::byte* tile = d.tiles.data + TileOffset(d.type, d.tiles, i, d.first_record + r);
        for (int64_t p = 0; p < panels; ++p) {
          const auto* x = reinterpret_cast<const uint8_t*>(tile);
          float* sums = d.sums + kPanelRows * ((first_panel + p) * d.tiles.tokens + begin);
          WithCount<kMaxTileTokens>(tokens, [&](auto count) {
            RunTile<P::kMins, decltype(count)::value>(unpacked[p], x, records * (record.cols / 32),
                                                      sums);
          });
        }
      }
    }
  }
}

}  // namespace
}  // namespace cadre::avx512
