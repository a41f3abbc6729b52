// Products of packed panels of 16-bit floats on AVX-512. BF16: pairs of columns lie together, and
// activations are rounded to BF16 too; F16: column by column, activations as they are. Include
// between panels_inl.h and kernels_inl.h.
#pragma once

#include "cpu/panels_inl.h"

namespace cadre::avx512 {
namespace {

constexpr bool IsHalf(DType type) { return type == DType::kBF16 || type == DType::kF16; }

constexpr int kHalfTokens = 12;  // two sums each

struct PanelBF16 {
  static constexpr int64_t kStepBytes = 64;  // of weights: two columns
  static constexpr int64_t kSteps = 16;      // of a group of 32 columns
  static constexpr int64_t kTokenBytes = 4;  // of a token for a step
  // sums[t] += weights times values of token t, whose groups lie group_bytes apart.
  template <int T>
  static inline void Add(VecF (&sums)[T], const uint8_t* weights, const uint8_t* values,
                         int64_t group_bytes) {
    const __m512i w = _mm512_load_si512(weights);
    CADRE_UNROLL for (int t = 0; t < T; ++t) {
      asm("vdpbf16ps %2%{1to16%}, %1, %0"
          : "+v"(sums[t])
          : "v"(w), "m"(*reinterpret_cast<const int32_t*>(values + t * group_bytes)));
    }
  }
};

// The same without AVX512_BF16: the odd columns first, as the instruction does it.
struct PanelBF16Emulated : PanelBF16 {
  template <int T>
  static inline void Add(VecF (&sums)[T], const uint8_t* weights, const uint8_t* values,
                         int64_t group_bytes) {
    const __m512i upper = _mm512_set1_epi32(static_cast<int>(0xffff0000));
    const auto odd = [&](__m512i x) { return _mm512_castsi512_ps(_mm512_and_si512(x, upper)); };
    const auto even = [](__m512i x) { return _mm512_castsi512_ps(_mm512_slli_epi32(x, 16)); };
    const __m512i w = _mm512_load_si512(weights);
    CADRE_UNROLL for (int t = 0; t < T; ++t) {
      int32_t pair;
      __builtin_memcpy(&pair, values + t * group_bytes, 4);
      const __m512i x = _mm512_set1_epi32(pair);
      sums[t] = MulAdd(even(w), even(x), MulAdd(odd(w), odd(x), sums[t]));
    }
  }
};

struct PanelF16 {
  static constexpr int64_t kStepBytes = 32;
  static constexpr int64_t kSteps = 32;
  static constexpr int64_t kTokenBytes = 4;
  template <int T>
  static inline void Add(VecF (&sums)[T], const uint8_t* weights, const uint8_t* values,
                         int64_t group_bytes) {
    const VecF w = _mm512_cvtph_ps(_mm256_load_si256(reinterpret_cast<const __m256i*>(weights)));
    CADRE_UNROLL for (int t = 0; t < T; ++t) {
      float value;
      __builtin_memcpy(&value, values + t * group_bytes, 4);
      sums[t] = MulAdd(w, _mm512_set1_ps(value), sums[t]);
    }
  }
};

// T tokens of a tile of tile_tokens. A record is two groups of 32 columns, each with a sum of its
// own: one alone would wait for itself.
template <typename P, int T>
void RunHalfTile(const uint8_t* w, const uint8_t* x, int64_t tile_tokens, int64_t records,
                 float* out) {
  constexpr int64_t kGroupBytes = P::kSteps * P::kStepBytes;
  constexpr int64_t kTokenGroupBytes = P::kSteps * P::kTokenBytes;
  const int64_t tile_group_bytes = tile_tokens * kTokenGroupBytes;
  VecF sums[T];
  CADRE_UNROLL for (int t = 0; t < T; ++t) sums[t] = LoadF32(out + 16 * t);
  for (int64_t r = 0; r < records; ++r, w += 2 * kGroupBytes, x += 2 * tile_group_bytes) {
    if constexpr (T <= 4) PrefetchRecord(w, 2 * kGroupBytes);
    VecF second[T];
    CADRE_UNROLL for (int t = 0; t < T; ++t) second[t] = Zero();
    for (int64_t i = 0; i < P::kSteps; ++i) {
      const uint8_t* step = w + i * P::kStepBytes;
      const uint8_t* values = x + i * P::kTokenBytes;
      P::Add(sums, step, values, kTokenGroupBytes);
      P::Add(second, step + kGroupBytes, values + tile_group_bytes, kTokenGroupBytes);
    }
    CADRE_UNROLL for (int t = 0; t < T; ++t) sums[t] = Add(sums[t], second[t]);
  }
  CADRE_UNROLL for (int t = 0; t < T; ++t) StoreF32(out + 16 * t, sums[t]);
}

template <typename P>
void RunHalfPanels(const PanelDots& d) {
  constexpr int64_t kTokenGroupBytes = P::kSteps * P::kTokenBytes;
  for (int64_t i = 0; i < d.tiles.count; ++i) {
    const int64_t begin = TileBegin(d.tiles, i);
    const int64_t tile_tokens = TileBegin(d.tiles, i + 1) - begin;
    const auto* tile = reinterpret_cast<const uint8_t*>(
        d.tiles.data + TileOffset(d.type, d.tiles, i, d.first_record));
    for (int64_t p = 0; p < d.num_panels; ++p) {
      const auto* panel = reinterpret_cast<const uint8_t*>(d.panels + p * d.panel_bytes);
      float* sums = d.sums + kPanelRows * (p * d.tiles.tokens + begin);
      const int64_t parts = (tile_tokens + kHalfTokens - 1) / kHalfTokens;
      for (int64_t part = 0; part < parts; ++part) {
        const int64_t first = tile_tokens * part / parts;
        const int64_t tokens = tile_tokens * (part + 1) / parts - first;
        WithCount<kHalfTokens>(tokens, [&](auto count) {
          RunHalfTile<P, decltype(count)::value>(panel, tile + first * kTokenGroupBytes,
                                                 tile_tokens, d.records, sums + kPanelRows * first);
        });
      }
    }
  }
}

inline void RunHalfPanelDots(const PanelDots& d) {
  if (d.type == DType::kF16) return RunHalfPanels<PanelF16>(d);
  if (__builtin_cpu_supports("avx512bf16")) return RunHalfPanels<PanelBF16>(d);
  RunHalfPanels<PanelBF16Emulated>(d);
}

// BF16: [pairs of columns][16][2]; F16: [columns][16]. Blocks of 16 rows and 32 columns are turned
// as pairs of columns.
inline void PackHalfPanel(const PanelSource& source, std::byte* panel) {
  const int64_t cols = PanelRecords(source.type, source.cols) * PanelRecordOf(source.type).cols;
  for (int64_t begin = 0; begin < cols; begin += 2 * kLanes) {
    const int64_t left = source.cols - begin;
    const __mmask32 within = left >= 32 ? ~0u : left > 0 ? (1u << left) - 1 : 0u;
    VecF pairs[kLanes];
    for (int64_t r = 0; r < kLanes; ++r) {
      const std::byte* row = source.rows_begin + r * source.row_bytes + 2 * begin;
      pairs[r] = _mm512_castsi512_ps(r < source.rows ? _mm512_maskz_loadu_epi16(within, row)
                                                     : _mm512_setzero_si512());
    }
    TransposeLanes(pairs);
    for (int64_t i = 0; i < kLanes; ++i, panel += 64) {
      const __m512i pair = _mm512_castps_si512(pairs[i]);
      if (source.type == DType::kBF16) {
        _mm512_storeu_si512(panel, pair);
      } else {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(panel), _mm512_cvtepi32_epi16(pair));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(panel + 32),
                            _mm512_cvtepi32_epi16(_mm512_srli_epi32(pair, 16)));
      }
    }
  }
}

// [groups of 32 columns][tokens][32] as BF16 or float, zero past the row's end.
inline void RoundHalfTile(const TileSource& source, std::byte* tile) {
  const int64_t cols = PanelRecords(source.type, source.cols) * PanelRecordOf(source.type).cols;
  const int64_t size = source.type == DType::kBF16 ? 2 : 4;
  for (int64_t k = 0; k < cols; k += 32) {
    for (int64_t t = 0; t < source.tokens; ++t, tile += 32 * size) {
      for (int64_t i = 0; i < 32; i += kLanes) {
        const int64_t left = source.cols - k - i;
        const int64_t n = left < 0 ? 0 : left < kLanes ? left : kLanes;
        const VecF x = n > 0 ? LoadF32N(source.x + t * source.x_stride + k + i, n) : Zero();
        if (source.type == DType::kBF16) {
          StoreAsBF16N(tile + i * size, x, kLanes);
        } else {
          StoreF32N(reinterpret_cast<float*>(tile + i * size), x, kLanes);
        }
      }
    }
  }
}

inline void PackAnyPanel(const PanelSource& source, std::byte* panel) {
  IsHalf(source.type) ? PackHalfPanel(source, panel) : PackPanel(source, panel);
}
inline void RoundAnyTile(const TileSource& source, std::byte* tile) {
  IsHalf(source.type) ? RoundHalfTile(source, tile) : RoundTile(source, tile);
}
inline void RunAnyPanelDots(const PanelDots& dots) {
  IsHalf(dots.type) ? RunHalfPanelDots(dots) : RunPanelDots(dots);
}
constexpr PanelKernels kAllPanels = {.tile_tokens = kTileTokens,
                                     .halves = true,
                                     .pack = PackAnyPanel,
                                     .round = RoundAnyTile,
                                     .dots = RunAnyPanelDots};
constexpr const PanelKernels* kPanelKernels = &kAllPanels;

}  // namespace
}  // namespace cadre::avx512
