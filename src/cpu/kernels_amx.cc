// Products of packed panels on AMX: tiles of sixteen tokens meet sixteen rows. The integers are
// exact and what follows them is, operation by operation, what panel_dots_vnni_inl.h does: so are
// the bits.
#include "cpu/kernels_amx.h"

#include "cpu/kernels.h"

// The panels are read in terms of the vectors, which therefore come first.
// clang-format off
#include "cpu/simd_avx512_inl.h"
#include "cpu/panel_types_inl.h"
#include "cpu/tiles_amx_inl.h"
#include "cpu/bf16_panels_amx_inl.h"
// clang-format on

namespace cadre {
namespace avx512 {
namespace {

// Registers 0 to 3: products; 4 and 5: tokens; 6 and 7: levels, `cols` columns at a time.
inline void Configure(int64_t tokens, int64_t cols) {
  TileConfig config;
  for (int i = 0; i < 8; ++i) {
    config.rows[i] = static_cast<uint8_t>(i < 6 ? tokens : cols / 4);
    config.row_bytes[i] = static_cast<uint16_t>(i / 2 == 2 ? cols : 64);
  }
  Load(config);
}

constexpr int64_t kPassCols = 1024;
constexpr int64_t kMaxPassPanels = 4;

// Blocks of 32: one product per group, scaled by vectors.

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

// Blocks of 256: levels times scales as one or two signed bytes, so that products go over the whole
// block before they are stored. With two, value = low + 128 high.

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

// products[i] [tokens][16] = the 256 bytes of each token times those of plane i. The tokens are
// loaded once for all planes.
template <int kPlanes>
inline void MultiplyBlock(const uint8_t* tokens, const int8_t* const* planes,
                          int32_t (*products)[kMaxTileTokens * kPanelRows]) {
  const int64_t row = 256, line = 64;
  asm volatile("tilezero %%tmm0\n\ttilezero %%tmm1\n\ttilezero %%tmm2\n\ttilezero %%tmm3" ::
                   : "memory");
  CADRE_UNROLL for (int k = 0; k < 4; ++k) {
    asm volatile("tileloadd (%0,%1,1), %%tmm4" ::"r"(tokens + 64 * k), "r"(row) : "memory");
#define CADRE_PLANE(I, LEVELS)                                            \
  if constexpr (I < kPlanes) {                                            \
    asm volatile("tileloadd (%0,%1,1), %%" LEVELS "\n\ttdpbssd %%" LEVELS \
                 ", %%tmm4, %%tmm" #I ::"r"(planes[I] + 1024 * k),        \
                 "r"(line)                                                \
                 : "memory");                                             \
  }
    CADRE_PLANE(0, "tmm6")
    CADRE_PLANE(1, "tmm7")
    CADRE_PLANE(2, "tmm6")
    CADRE_PLANE(3, "tmm7")
#undef CADRE_PLANE
  }
#define CADRE_PLANE(I)       \
  if constexpr (I < kPlanes) \
    asm volatile("tilestored %%tmm" #I ", (%0,%1,1)" ::"r"(products[I]), "r"(line) : "memory");
  CADRE_PLANE(0)
  CADRE_PLANE(1)
  CADRE_PLANE(2)
  CADRE_PLANE(3)
#undef CADRE_PLANE
}

// One block of kPanels panels with a tile, into sums, which are sums_stride floats apart.
template <typename P, int kPanels>
inline void RunWideBlock(const FoldedBlock* const* blocks, const uint8_t* tile, int64_t tokens,
                         float* sums, int64_t sums_stride) {
  constexpr int kPlanes = kPanels * P::kDigits;
  alignas(64) int32_t products[kPlanes][kMaxTileTokens * kPanelRows];
  const int8_t* planes[kPlanes];
  for (int i = 0; i < kPlanes; ++i) planes[i] = blocks[i / P::kDigits]->bytes[i % P::kDigits];
  MultiplyBlock<kPlanes>(tile, planes, products);
  const uint8_t* extras = tile + 256 * tokens;
  for (int p = 0; p < kPanels; ++p) {
    const int32_t* low = products[p * P::kDigits];
    for (int64_t t = 0; t < tokens; ++t) {
      VecI acc = LoadInts(low + 16 * t);
      if constexpr (P::kDigits == 2) {
        acc = _mm512_add_epi32(
            acc, _mm512_slli_epi32(LoadInts(products[p * P::kDigits + 1] + 16 * t), 7));
      }
      AddWideSums<P::kMins, P::kHalves ? 8 : 4>(
          acc, blocks[p]->scales, extras + kWideExtraBytes * t, sums + p * sums_stride + 16 * t);
    }
  }
}

// Both kinds: some columns of some panels are unpacked, then all tokens pass.

template <typename P>
void RunPanelsOf32(const PanelDots& d) {
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
        if (tokens != configured) Configure(configured = tokens, 32);
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

template <typename P, int kPanels>
void RunWidePanels(const PanelDots& d, int64_t first_panel) {
  const PanelRecord record = PanelRecordOf(d.type);
  const int64_t sums_stride = kPanelRows * d.tiles.tokens;
  FoldedBlock folded[kPanels];
  const FoldedBlock* blocks[kPanels];
  for (int p = 0; p < kPanels; ++p) blocks[p] = &folded[p];
  int64_t configured = 0;
  for (int64_t r = 0; r < d.records; ++r) {
    for (int64_t p = 0; p < kPanels; ++p) {
      const auto* w = reinterpret_cast<const uint8_t*>(
          d.panels + (first_panel + p) * d.panel_bytes + r * record.bytes);
      PrefetchRecord(w, record.bytes);
      Fold<P>(w, folded[p]);
    }
    for (int64_t i = 0; i < d.tiles.count; ++i) {
      const int64_t begin = TileBegin(d.tiles, i);
      const int64_t tokens = TileBegin(d.tiles, i + 1) - begin;
      if (tokens != configured) Configure(configured = tokens, 64);
      const std::byte* tile = d.tiles.data + TileOffset(d.type, d.tiles, i, d.first_record + r);
      RunWideBlock<P, kPanels>(blocks, reinterpret_cast<const uint8_t*>(tile), tokens,
                               d.sums + first_panel * sums_stride + kPanelRows * begin,
                               sums_stride);
    }
  }
}

template <typename P>
void RunPanelsOf256(const PanelDots& d) {
  constexpr int kPanels = 4 / P::kDigits;
  int64_t p = 0;
  for (; p + kPanels <= d.num_panels; p += kPanels) RunWidePanels<P, kPanels>(d, p);
  for (; p < d.num_panels; ++p) RunWidePanels<P, 1>(d, p);
}

// Fewer tokens than this leave most of a tile empty: vectors are sooner done.
constexpr int64_t kFewTokens = 12;

void AmxPanelDots(const PanelDots& dots) {
  if (dots.type == DType::kBF16) {
    RunBF16Panels(dots);
    return Release();
  }
  if (dots.type == DType::kF16 || dots.tiles.tokens <= kFewTokens)
    return Avx512Kernels().panels->dots(dots);
  WithPanel(dots.type, [&](auto panel) {
    using P = decltype(panel);
    if constexpr (P::kWide) {
      RunPanelsOf256<P>(dots);
    } else {
      RunPanelsOf32<P>(dots);
    }
  });
  Release();
}

double AmxPeak(int64_t rounds) {
  alignas(64) int8_t bytes[1024] = {};
  Configure(16, 64);
  asm volatile("tileloadd (%0,%1,1), %%tmm4\n\ttileloadd (%0,%1,1), %%tmm6" ::"r"(bytes),
               "r"(int64_t{64})
               : "memory");
  for (int64_t i = 0; i < rounds; ++i)
    asm volatile(
        "tdpbssd %tmm6, %tmm4, %tmm0\n\ttdpbssd %tmm6, %tmm4, %tmm1\n\t"
        "tdpbssd %tmm6, %tmm4, %tmm2\n\ttdpbssd %tmm6, %tmm4, %tmm3");
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
