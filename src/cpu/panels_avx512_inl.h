// Products of packed panels on AVX-512 with VNNI: sixteen rows in the lanes of a register, tokens
// in registers beside each other, activations broadcast from memory. Include between
// simd_avx512_inl.h and kernels_inl.h.
#pragma once

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
inline VecI Broadcast32(const uint8_t* p) {
  int32_t value;
  __builtin_memcpy(&value, p, 4);
  return _mm512_set1_epi32(value);
}

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
void RunTileOf(int64_t tokens, const uint8_t* w, const uint8_t* x, int64_t records,
               int64_t record_bytes, float* sums) {
  switch (tokens) {
#define CADRE_TILE(T)                                 \
  case T:                                             \
    RunTile<P, T>(w, x, records, record_bytes, sums); \
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

// A tile meets all panels while it is in the first-level cache.
inline void RunPanelDots(const PanelDots& d) {
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

constexpr PanelKernels kPanels = {
    .tile_tokens = 12, .pack = PackPanel, .round = RoundTile, .dots = RunPanelDots};
constexpr const PanelKernels* kPanelKernels = &kPanels;

}  // namespace
}  // namespace cadre::avx512
