// Products of packed panels on AVX-512 with VNNI: sixteen rows in the lanes of a register, tokens
// in registers beside each other, activations broadcast from memory. Include between
// simd_avx512_inl.h and kernels_inl.h.
#pragma once

#include "cpu/half_panels_avx512_inl.h"
#include "cpu/panel_types_avx512_inl.h"

namespace cadre::avx512 {
namespace {

// acc[r] += four levels of row r (unsigned) times four values of a token (signed), which are
// broadcast from memory. The compiler would spend an instruction on that.
inline void AddDots(VecI& acc, VecI levels, const uint8_t* values) {
  asm("vpdpbusd %2%{1to16%}, %1, %0"
      : "+v"(acc)
      : "v"(levels), "m"(*reinterpret_cast<const int32_t*>(values)));
}

constexpr int64_t kPrefetchBytes = 4096;
constexpr int kFewChains = 6;
constexpr int kTileTokens = 12;  // as many sums as there are registers for

// Where few tokens are, the weights come from memory as fast as they are asked for.
template <int T>
inline void Prefetch(const uint8_t* w, int64_t record_bytes) {
  if constexpr (T <= 4) {
    for (int64_t i = 0; i < record_bytes; i += 64)
      _mm_prefetch(reinterpret_cast<const char*>(w + kPrefetchBytes + i), _MM_HINT_T0);
  }
}

// One group of 32 columns: T tokens times sixteen rows, into the sums.
template <typename P, int T, int G>
inline void AddGroup(const uint8_t* w, const RecordScales& s, const uint8_t* x, VecF (&sums)[T]) {
  const uint8_t* scales = x + 32 * T;
  const uint8_t* extras = x + 36 * T;
  VecI acc[T];
  CADRE_UNROLL for (int t = 0; t < T; ++t) {
    acc[t] = P::kMins || P::kOffset == 0 ? _mm512_setzero_si512() : Broadcast32(extras + 4 * t);
  }
  CADRE_UNROLL for (int j = 0; j < 8; ++j) {
    const VecI levels = P::template Levels<G>(w, 0, j);
    CADRE_UNROLL for (int t = 0; t < T; ++t) AddDots(acc[t], levels, x + 32 * t + 4 * j);
  }
  const VecF scale = _mm512_load_ps(s.scale[G]);
  CADRE_UNROLL for (int t = 0; t < T; ++t) {
    sums[t] = MulAdd(_mm512_cvtepi32_ps(acc[t]), Mul(scale, BroadcastF32(scales + 4 * t)), sums[t]);
  }
  if constexpr (P::kMins) {
    const VecF min = _mm512_load_ps(s.min[G]);
    CADRE_UNROLL for (int t = 0; t < T; ++t) sums[t] =
        MulAdd(min, BroadcastF32(extras + 4 * t), sums[t]);
  }
}

template <typename P, int T>
void RunTile(const uint8_t* w, const uint8_t* x, int64_t records, int64_t record_bytes,
             float* out) {
  VecF sums[T];
  CADRE_UNROLL for (int t = 0; t < T; ++t) sums[t] = LoadF32(out + 16 * t);
  for (int64_t r = 0; r < records; ++r, w += record_bytes) {
    Prefetch<T>(w, record_bytes);
    RecordScales s;
    P::Scales(w, s);
    AddGroup<P, T, 0>(w, s, x, sums);
    x += TileGroupBytes(32, T);
    AddGroup<P, T, 1>(w, s, x, sums);
    x += TileGroupBytes(32, T);
  }
  CADRE_UNROLL for (int t = 0; t < T; ++t) StoreF32(out + 16 * t, sums[t]);
}

// Folding pays where it is shared by many tokens. A sum also waits five cycles for the one before:
// with few tokens the parts have sums of their own.
template <typename P, int T>
constexpr bool kFoldsFor = P::kFolded&& T > kFewChains;

// One group of 32 columns of a block of 256: level times value times the part's scale, whole
// numbers all.
template <typename P, int T, int G>
inline void AddWideGroup(const uint8_t* w, int64_t step, const WideScales& s, const uint8_t* x,
                         const uint8_t* extras, VecI (&acc)[T]) {
  constexpr int kParts = P::kHalves ? 2 : 1;
  constexpr int kQuads = 8 / kParts;
  const int64_t group = step * P::kUnroll + G;
  CADRE_UNROLL for (int part = 0; part < kParts; ++part) {
    if constexpr (kFoldsFor<P, T>) {
      const FoldFactor factor = P::Factor(s, group * kParts + part);
      CADRE_UNROLL for (int j = part * kQuads; j < (part + 1) * kQuads; ++j) {
        const VecI levels = P::template FoldedLevels<G>(w, step, j, factor);
        CADRE_UNROLL for (int t = 0; t < T; ++t) AddDots(acc[t], levels, x + 256 * t + 4 * j);
      }
      continue;
    }
    const uint8_t* starts = extras + kWideStartsAt + 4 * (group * kParts + part);
    VecI dots[T];
    CADRE_UNROLL for (int t = 0; t < T; ++t) {
      dots[t] = P::kMins ? _mm512_setzero_si512() : Broadcast32(starts + kWideExtraBytes * t);
    }
    CADRE_UNROLL for (int j = part * kQuads; j < (part + 1) * kQuads; ++j) {
      const VecI levels = P::template Levels<G>(w, step, j);
      CADRE_UNROLL for (int t = 0; t < T; ++t) AddDots(dots[t], levels, x + 256 * t + 4 * j);
    }
    if constexpr (P::kFolded) {  // sums of 16 bits, with their signs above them: that meets zeros
      const VecI scale =
          _mm512_maskz_mov_epi16(0x55555555, WideI8(LoadRows(s.bytes[group * kParts + part])));
      CADRE_UNROLL for (int t = 0; t < T; ++t) acc[t] = _mm512_dpwssd_epi32(acc[t], dots[t], scale);
    } else {
      const VecI scale = LoadInts(s.scale[group * kParts + part]);
      CADRE_UNROLL for (int t = 0; t < T; ++t) acc[t] =
          _mm512_add_epi32(acc[t], _mm512_mullo_epi32(dots[t], scale));
    }
  }
}

template <typename P, int T>
void RunWideTile(const uint8_t* w, const uint8_t* x, int64_t records, int64_t record_bytes,
                 float* out) {
  constexpr int kPairs = P::kHalves ? 8 : 4;
  for (int64_t r = 0; r < records; ++r, w += record_bytes) {
    Prefetch<T>(w, record_bytes);
    WideScales s;
    P::Scales(w, s);
    const uint8_t* extras = x + 256 * T;
    VecI acc[T];
    CADRE_UNROLL for (int t = 0; t < T; ++t) {
      acc[t] = kFoldsFor<P, T> && !P::kMins
                   ? Broadcast32(extras + kWideStartAt + kWideExtraBytes * t)
                   : _mm512_setzero_si512();
    }
    for (int64_t step = 0; step < P::kSteps; ++step, x += 32 * P::kUnroll) {
      AddWideGroup<P, T, 0>(w, step, s, x, extras, acc);
      if constexpr (P::kUnroll > 1) AddWideGroup<P, T, 1>(w, step, s, x + 32, extras, acc);
      if constexpr (P::kUnroll > 2) {
        AddWideGroup<P, T, 2>(w, step, s, x + 64, extras, acc);
        AddWideGroup<P, T, 3>(w, step, s, x + 96, extras, acc);
      }
    }
    CADRE_UNROLL for (int t = 0; t < T; ++t) {
      AddWideSums<P::kMins, kPairs>(acc[t], s, extras + kWideExtraBytes * t, out + 16 * t);
    }
    x += TileGroupBytes(256, T) - 256;
  }
}

template <typename P>
void RunTileOf(int64_t tokens, const uint8_t* w, const uint8_t* x, int64_t records,
               int64_t record_bytes, float* sums) {
  WithCount<kTileTokens>(tokens, [&](auto count) {
    constexpr int kTokens = decltype(count)::value;
    if constexpr (P::kWide) {
      RunWideTile<P, kTokens>(w, x, records, record_bytes, sums);
    } else {
      RunTile<P, kTokens>(w, x, records, record_bytes, sums);
    }
  });
}

// A tile meets all panels while it is in the first-level cache.
inline void RunPanelDots(const PanelDots& d) {
  if (IsHalf(d.type)) return RunHalfPanelDots(d);
  const int64_t record_bytes = PanelRecordOf(d.type).bytes;
  WithPanel(d.type, [&](auto panel) {
    for (int64_t i = 0; i < d.tiles.count; ++i) {
      const int64_t begin = TileBegin(d.tiles, i);
      const int64_t tokens = TileBegin(d.tiles, i + 1) - begin;
      const std::byte* tile = d.tiles.data + TileOffset(d.type, d.tiles, i, d.first_record);
      for (int64_t p = 0; p < d.num_panels; ++p) {
        RunTileOf<decltype(panel)>(tokens,
                                   reinterpret_cast<const uint8_t*>(d.panels + p * d.panel_bytes),
                                   reinterpret_cast<const uint8_t*>(tile), d.records, record_bytes,
                                   d.sums + kPanelRows * (p * d.tiles.tokens + begin));
      }
    }
  });
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

// Bytes of eight bits, one for each group of 32 columns, to what a step of four groups reads
// together: four quads in the lower halves of bytes, four in the upper ones.
inline void SplitThirdBits(uint8_t* bits) {
  uint8_t split[512];
  for (int step = 0; step < 2; ++step) {
    for (int i = 0; i < 256; ++i) {
      const int low = bits[i] >> 4 * step & 15, high = bits[256 + i] >> 4 * step & 15;
      split[256 * step + i] = static_cast<uint8_t>(low | high << 4);
    }
  }
  __builtin_memcpy(bits, split, sizeof split);
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
      SplitThirdBits(out + 256);
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
  if (IsHalf(source.type)) return PackHalfPanel(source, panel);
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

// `count` values to nearest even at scale amax / 127. What is not finite has a scale that is not,
// and levels of zero. As RoundRow.
inline float RoundGroup(const float* x, int64_t count, int8_t* values) {
  const float scale = MaxMagnitude(x, count) / 127;
  const float inverse = 1 / scale;
  if (inverse > 0 && inverse < __builtin_inff()) {
    for (int64_t i = 0; i < count; i += kLanes)
      StoreAsI8N(values + i, LoadF32(x + i), inverse, kLanes);
  } else {
    __builtin_memset(values, 0, static_cast<size_t>(count));
  }
  return scale;
}
// The sums of four values each: `count` values, a multiple of 32.
inline void SumFours(const int8_t* values, int64_t count, int32_t* sums) {
  for (int64_t i = 0; i < count; i += 32) {
    const __m256i x = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(values + i));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums + i / 4),
                        _mm256_dpbusd_epi32(_mm256_setzero_si256(), _mm256_set1_epi8(1), x));
  }
}

// A row of one token within a tile of blocks of 32.
template <typename P>
void RoundTokenOf32(const float* x, int64_t cols, int64_t groups, int64_t t, int64_t tokens,
                    uint8_t* tile) {
  for (int64_t g = 0; g < groups; ++g, tile += TileGroupBytes(32, tokens)) {
    auto* values = reinterpret_cast<int8_t*>(tile + 32 * t);
    float scale = 0;
    int32_t sum = 0;
    if (32 * g < cols) {
      scale = RoundGroup(x + 32 * g, 32, values);
      int32_t fours[8];
      SumFours(values, 32, fours);
      for (const int32_t four : fours) sum += four;
    } else {
      __builtin_memset(values, 0, 32);
    }
    __builtin_memcpy(tile + 32 * tokens + 4 * t, &scale, 4);
    uint8_t* extra = tile + 36 * tokens + 4 * t;
    if constexpr (P::kMins) {
      const float scaled = scale * static_cast<float>(sum);
      __builtin_memcpy(extra, &scaled, 4);
    } else {
      const int32_t start = -P::kOffset * sum;
      __builtin_memcpy(extra, &start, 4);
    }
  }
}

template <typename P>
void RoundTokenOf256(const float* x, int64_t groups, int64_t t, int64_t tokens, uint8_t* tile) {
  constexpr int kFours = P::kHalves ? 4 : 8;
  for (int64_t g = 0; g < groups; ++g, tile += TileGroupBytes(256, tokens)) {
    auto* values = reinterpret_cast<int8_t*>(tile + 256 * t);
    uint8_t* extra = tile + 256 * tokens + kWideExtraBytes * t;
    const float scale = RoundGroup(x + 256 * g, 256, values);
    int32_t fours[64];
    SumFours(values, 256, fours);
    int16_t sums[64 / kFours];
    int32_t starts[64 / kFours];
    int32_t start = 0;
    for (int i = 0; i < 64 / kFours; ++i) {
      int32_t sum = 0;
      for (int k = 0; k < kFours; ++k) sum += fours[kFours * i + k];
      sums[i] = static_cast<int16_t>(sum);
      starts[i] = -P::kOffset * sum;
      start -= P::kFoldOffset * sum;
    }
    __builtin_memset(extra, 0, kWideExtraBytes);
    __builtin_memcpy(extra, &scale, 4);
    __builtin_memcpy(extra + kWideStartAt, &start, 4);
    __builtin_memcpy(extra + kWideSumsAt, sums, sizeof sums);
    __builtin_memcpy(extra + kWideStartsAt, starts, sizeof starts);
  }
}

inline void RoundTile(const TileSource& source, std::byte* tile) {
  if (IsHalf(source.type)) return RoundHalfTile(source, tile);
  const int64_t group_cols = TileGroupCols(source.type);
  const int64_t groups =
      PanelRecords(source.type, source.cols) * (PanelRecordOf(source.type).cols / group_cols);
  auto* to = reinterpret_cast<uint8_t*>(tile);
  WithPanel(source.type, [&](auto panel) {
    using P = decltype(panel);
    for (int64_t t = 0; t < source.tokens; ++t) {
      const float* x = source.x + t * source.x_stride;
      if constexpr (P::kWide) {
        RoundTokenOf256<P>(x, groups, t, source.tokens, to);
      } else {
        RoundTokenOf32<P>(x, source.cols, groups, t, source.tokens, to);
      }
    }
  });
}

constexpr PanelKernels kPanels = {
    .tile_tokens = kTileTokens, .pack = PackPanel, .round = RoundTile, .dots = RunPanelDots};
constexpr const PanelKernels* kPanelKernels = &kPanels;

}  // namespace
}  // namespace cadre::avx512
