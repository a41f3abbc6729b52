// Products of packed panels on AMX: a tile of sixteen tokens meets sixteen rows, 32 columns at a
// time. The integers are exact and what follows them is, operation by operation, what
// panels_avx512_inl.h does: so are the bits.
#include "cpu/kernels_amx.h"

#include "cpu/kernels.h"

// The panels are read in terms of the vectors, which therefore come first.
// clang-format off
#include "cpu/simd_avx512_inl.h"
#include "cpu/panel_types_avx512_inl.h"
// clang-format on

namespace cadre {
namespace avx512 {
namespace {

// How tiles are shaped. Registers 0, 1, 6, 7: products; 2, 3: tokens; 4, 5: levels.
struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};

// Columns of one part of a group: what shares a scale.
template <bool kHalves>
constexpr int64_t kPartCols = kHalves ? 16 : 32;

inline void Configure(int64_t tokens, int64_t part_cols) {
  TileConfig config;
  const auto shape = [&](int i, int64_t rows, int64_t row_bytes) {
    config.rows[i] = static_cast<uint8_t>(rows);
    config.row_bytes[i] = static_cast<uint16_t>(row_bytes);
  };
  for (const int i : {0, 1, 6, 7}) shape(i, tokens, 64);
  for (const int i : {2, 3}) shape(i, tokens, part_cols);
  for (const int i : {4, 5}) shape(i, part_cols / 4, 64);
  asm volatile("ldtilecfg %0" ::"m"(config));
}
inline void Release() { asm volatile("tilerelease"); }

template <int kValue>
struct Slot {
  static constexpr int value = kValue;
};

// products [tokens][16] = signed bytes of tokens (32 apart) times signed levels.
template <int kSlot>
inline void Multiply(const uint8_t* tokens, const int8_t* levels, int32_t* products) {
  if constexpr (kSlot == 0) {
    asm volatile(
        "tilezero %%tmm0\n\t"
        "tileloadd (%0,%3,1), %%tmm2\n\t"
        "tileloadd (%1,%4,1), %%tmm4\n\t"
        "tdpbssd %%tmm4, %%tmm2, %%tmm0\n\t"
        "tilestored %%tmm0, (%2,%4,1)"
        :
        : "r"(tokens), "r"(levels), "r"(products), "r"(int64_t{kTileGroup}), "r"(int64_t{64})
        : "memory");
  } else {
    asm volatile(
        "tilezero %%tmm1\n\t"
        "tileloadd (%0,%3,1), %%tmm3\n\t"
        "tileloadd (%1,%4,1), %%tmm5\n\t"
        "tdpbssd %%tmm5, %%tmm3, %%tmm1\n\t"
        "tilestored %%tmm1, (%2,%4,1)"
        :
        : "r"(tokens), "r"(levels), "r"(products), "r"(int64_t{kTileGroup}), "r"(int64_t{64})
        : "memory");
  }
}

constexpr int64_t kPassCols = 1024;
constexpr int64_t kPassParts = kPassCols / 16;
constexpr int64_t kMaxPassPanels = 4;

// Some columns of a panel as bytes, and what scales and minima come to.
struct UnpackedPanel {
  alignas(64) int8_t levels[kPassCols * kPanelRows];
  alignas(64) float scales[kPassParts][kPanelRows];
  alignas(64) float mins[kPassParts][kPanelRows];
};

constexpr int64_t kPrefetchBytes = 4096;

template <typename P, int G>
inline void UnpackGroup(const uint8_t* w, int64_t step, int8_t* levels) {
  CADRE_UNROLL for (int j = 0; j < 8; ++j) {
    const VecI x = P::template Levels<G>(w, step, j);
    _mm512_store_si512(levels + 64 * j,
                       _mm512_sub_epi8(x, _mm512_set1_epi8(static_cast<char>(P::kOffset))));
  }
}

template <typename P>
void Unpack(const uint8_t* w, int64_t records, int64_t record_bytes, UnpackedPanel& out) {
  constexpr int64_t kParts = P::kUnroll * P::kSteps * (P::kHalves ? 2 : 1);
  int8_t* levels = out.levels;
  for (int64_t r = 0; r < records; ++r, w += record_bytes) {
    for (int64_t i = 0; i < record_bytes; i += 64)
      _mm_prefetch(reinterpret_cast<const char*>(w + kPrefetchBytes + i), _MM_HINT_T0);
    RecordScales s;
    P::Scales(w, s);
    for (int64_t i = 0; i < kParts; ++i) {
      _mm512_store_ps(out.scales[r * kParts + i], _mm512_load_ps(s.scale[i]));
      if (P::kMins) _mm512_store_ps(out.mins[r * kParts + i], _mm512_load_ps(s.min[i]));
    }
    for (int64_t step = 0; step < P::kSteps; ++step) {
      UnpackGroup<P, 0>(w, step, levels);
      if constexpr (P::kUnroll > 1) UnpackGroup<P, 1>(w, step, levels + 512);
      if constexpr (P::kUnroll > 2) {
        UnpackGroup<P, 2>(w, step, levels + 1024);
        UnpackGroup<P, 3>(w, step, levels + 1536);
      }
      levels += 512 * P::kUnroll;
    }
  }
}

// T tokens of a tile with some groups of an unpacked panel, into sums [T][16]. The products of a
// part are made while those of the part before are scaled.
template <bool kHalves, bool kMins, int T>
void RunTile(const UnpackedPanel& panel, const uint8_t* tile, int64_t groups, float* out) {
  constexpr int64_t kParts = kHalves ? 2 : 1;
  alignas(64) int32_t products[2][kMaxTileTokens * kPanelRows];
  VecF sums[T];
  CADRE_UNROLL for (int t = 0; t < T; ++t) sums[t] = LoadF32(out + 16 * t);
  const auto multiply = [&](int64_t i, auto slot) __attribute__((always_inline)) {
    Multiply<decltype(slot)::value>(
        tile + i / kParts * TileGroupBytes(T) + (i % kParts) * kPartCols<kHalves>,
        panel.levels + i * kPartCols<kHalves> * kPanelRows, products[decltype(slot)::value]);
  };
  const auto scale = [&](int64_t i, const int32_t* from) __attribute__((always_inline)) {
    const uint8_t* scales = tile + i / kParts * TileGroupBytes(T) + 32 * T;
    const uint8_t* extras = scales + 4 * T + (i % kParts) * 4 * T;
    const VecF row_scale = _mm512_load_ps(panel.scales[i]);
    CADRE_UNROLL for (int t = 0; t < T; ++t) {
      sums[t] = MulAdd(_mm512_cvtepi32_ps(_mm512_load_si512(from + 16 * t)),
                       Mul(row_scale, BroadcastF32(scales + 4 * t)), sums[t]);
    }
    if constexpr (kMins) {
      const VecF min = _mm512_load_ps(panel.mins[i]);
      CADRE_UNROLL for (int t = 0; t < T; ++t) sums[t] =
          MulAdd(min, BroadcastF32(extras + 4 * t), sums[t]);
    }
  };
  using Even = Slot<0>;
  using Odd = Slot<1>;
  const int64_t parts = groups * kParts;
  multiply(0, Even{});
  int64_t i = 0;
  for (; i + 2 < parts; i += 2) {
    multiply(i + 1, Odd{});
    scale(i, products[0]);
    multiply(i + 2, Even{});
    scale(i + 1, products[1]);
  }
  if (i + 1 < parts) multiply(i + 1, Odd{});
  scale(i, products[0]);
  if (i + 1 < parts) scale(i + 1, products[1]);
  CADRE_UNROLL for (int t = 0; t < T; ++t) StoreF32(out + 16 * t, sums[t]);
}

template <bool kHalves, bool kMins>
void RunTileOf(int64_t tokens, const UnpackedPanel& panel, const uint8_t* tile, int64_t groups,
               float* sums) {
  switch (tokens) {
#define CADRE_TILE(T)                                      \
  case T:                                                  \
    RunTile<kHalves, kMins, T>(panel, tile, groups, sums); \
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
    CADRE_TILE(13)
    CADRE_TILE(14)
    CADRE_TILE(15)
    CADRE_TILE(16)
#undef CADRE_TILE
  }
}

template <typename P>
void RunPanels(const PanelDots& d) {
  const PanelRecord record = PanelRecordOf(d.type);
  const int64_t pass_records = kPassCols / record.cols;
  const int64_t pass_panels = d.tiles.count == 1 ? 1 : kMaxPassPanels;
  UnpackedPanel unpacked[kMaxPassPanels];
  int64_t configured = 0;
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
        if (tokens != configured) {
          Configure(tokens, kPartCols<P::kHalves>);
          configured = tokens;
        }
        const std::byte* tile = d.tiles.data + TileOffset(d.type, d.tiles, i, d.first_record + r);
        for (int64_t p = 0; p < panels; ++p) {
          RunTileOf<P::kHalves, P::kMins>(
              tokens, unpacked[p], reinterpret_cast<const uint8_t*>(tile),
              records * (record.cols / kTileGroup),
              d.sums + kPanelRows * ((first_panel + p) * d.tiles.tokens + begin));
        }
      }
    }
  }
  Release();
}

// Fewer tokens than this leave most of a tile empty: vectors are sooner done.
constexpr int64_t kFewTokens = 12;

void AmxPanelDots(const PanelDots& dots) {
  if (dots.tiles.tokens <= kFewTokens) return Avx512Kernels().panels->dots(dots);
  WithPanel(dots.type, [&](auto panel) { RunPanels<decltype(panel)>(dots); });
}

double AmxPeak(int64_t rounds) {
  alignas(64) int8_t bytes[1024] = {};
  Configure(16, 64);
  asm volatile("tileloadd (%0,%1,1), %%tmm2\n\ttileloadd (%0,%1,1), %%tmm4" ::"r"(bytes),
               "r"(int64_t{64})
               : "memory");
  for (int64_t i = 0; i < rounds; ++i)
    asm volatile(
        "tdpbssd %tmm4, %tmm2, %tmm0\n\ttdpbssd %tmm4, %tmm2, %tmm1\n\t"
        "tdpbssd %tmm4, %tmm2, %tmm6\n\ttdpbssd %tmm4, %tmm2, %tmm7");
  Release();
  return static_cast<double>(rounds) * 4 * 2 * 16 * 16 * 64;
}

}  // namespace
}  // namespace avx512

const AmxKernelSet& AmxKernels() {
  static constexpr AmxKernelSet kSet = {.dots = avx512::AmxPanelDots, .peak = avx512::AmxPeak};
  return kSet;
}

}  // namespace cadre
