// Packed panels: how they are made, how activations become tiles, and which products follow.
// Include after a panel_dots_*_inl.h, which has RunTile and RunWideTile, and before kernels_inl.h.
#pragma once

#include <type_traits>

#include "cpu/kernels.h"
#include "cpu/panel_types_inl.h"

namespace cadre::CADRE_ISA {
namespace {

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

// What stands for a row's block where there is none.
static const uint8_t kNoBlock[256] = {};

// `count` bytes, a multiple of 16, at `offset` of each row's block, four columns of sixteen rows
// together.
inline void PackQuads(const uint8_t* const* blocks, int64_t offset, int64_t count, uint8_t* out) {
  const auto load = [](const uint8_t* from) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i_u*>(from));
  };
  for (int64_t r = 0; r < kPanelRows; r += 4) {
    for (int64_t i = 0; i < count; i += 16) {
      const __m128i a = load(blocks[r] + offset + i), b = load(blocks[r + 1] + offset + i);
      const __m128i c = load(blocks[r + 2] + offset + i), d = load(blocks[r + 3] + offset + i);
      const __m128i ab[2] = {_mm_unpacklo_epi32(a, b), _mm_unpackhi_epi32(a, b)};
      const __m128i cd[2] = {_mm_unpacklo_epi32(c, d), _mm_unpackhi_epi32(c, d)};
      auto* to = reinterpret_cast<__m128i_u*>(out + 16 * i + 4 * r);
      _mm_storeu_si128(to, _mm_unpacklo_epi64(ab[0], cd[0]));
      _mm_storeu_si128(to + 4, _mm_unpackhi_epi64(ab[0], cd[0]));
      _mm_storeu_si128(to + 8, _mm_unpacklo_epi64(ab[1], cd[1]));
      _mm_storeu_si128(to + 12, _mm_unpackhi_epi64(ab[1], cd[1]));
    }
  }
}
// `count` numbers of kSize bytes at `offset`, each as a row of sixteen.
template <int kSize>
inline void PackRows(const uint8_t* const* blocks, int64_t offset, int64_t count, uint8_t* out) {
  for (int64_t i = 0; i < count; ++i) {
    for (int64_t r = 0; r < kPanelRows; ++r)
      __builtin_memcpy(out + kSize * (16 * i + r), blocks[r] + offset + kSize * i, kSize);
  }
}

// Block g of two of the types of 32.
inline void PackBlockOf32(DType type, const uint8_t* const* blocks, int g, uint8_t* out) {
  const bool has_mins = type == DType::kQ4_1 || type == DType::kQ5_1;
  const bool has_fifth = type == DType::kQ5_0 || type == DType::kQ5_1;
  const int64_t fifth_at = has_mins ? 4 : 2;
  const int64_t levels_at = fifth_at + (has_fifth ? 4 : 0);
  uint8_t* levels = out + (has_mins ? 128 : 64);
  PackRows<2>(blocks, 0, 1, out + 32 * g);
  if (has_mins) PackRows<2>(blocks, 2, 1, out + 64 + 32 * g);
  if (type == DType::kQ8_0) {
    PackQuads(blocks, 2, 32, levels + 512 * g);
    for (int i = 0; i < 512; ++i) levels[512 * g + i] ^= 0x80;
    return;
  }
  PackQuads(blocks, levels_at, 16, levels + 256 * g);
  if (!has_fifth) return;
  for (int r = 0; r < kPanelRows; ++r) {
    uint32_t bits;
    __builtin_memcpy(&bits, blocks[r] + fifth_at, 4);
    // Of each 64 bytes of levels, four columns of a row are four bytes in a row: so their bits.
    for (int quad = 0; quad < 8; ++quad) {
      levels[512 + 64 * g + 8 * quad + r / 2] |=
          static_cast<uint8_t>((bits >> 4 * quad & 15) << 4 * (r % 2));
    }
  }
}

// Levels of three bits, as Levels of PanelQ3_K reads them: from two bits in bytes of four groups of
// 32 columns each, and third bits in bytes of eight.
inline void PackThreeBits(const uint8_t* two_bits, const uint8_t* third_bits, uint8_t* out) {
  for (int i = 0; i < 8; ++i, out += 192) {
    const int step = i / 4;
    uint8_t levels[8][64];
    for (int part = 0; part < 8; ++part) {
      const uint8_t* low = two_bits + 64 * (8 * step + 4 * (part % 2) + i % 4);
      const uint8_t* third = third_bits + 64 * (4 * (part % 2) + i % 4);
      const int group = part / 2;
      for (int k = 0; k < 64; ++k) {
        levels[part][k] = static_cast<uint8_t>((low[k] >> 2 * group & 3) |
                                               (third[k] >> (4 * step + group) & 1) << 2);
      }
    }
    for (int k = 0; k < 64; ++k) {
      const auto bytes = [&](int part) { return levels[part][k] | levels[part + 3][k] << 3; };
      const int sixth = levels[6][k], seventh = levels[7][k];
      out[k] = static_cast<uint8_t>(bytes(0) | sixth << 6);
      out[64 + k] = static_cast<uint8_t>(bytes(1) | seventh << 6);
      out[128 + k] = static_cast<uint8_t>(bytes(2) | (sixth >> 2) << 6 | (seventh >> 2) << 7);
    }
  }
}

inline void PackBlockOf256(DType type, const uint8_t* const* blocks, uint8_t* out) {
  switch (type) {
    case DType::kQ2_K:
      PackRows<2>(blocks, 80, 2, out);
      PackRows<1>(blocks, 0, 16, out + 64);
      PackQuads(blocks, 16, 64, out + 320);
      break;
    case DType::kQ3_K: {
      PackRows<2>(blocks, 108, 1, out);
      PackRows<1>(blocks, 96, 12, out + 64);
      uint8_t two_bits[1024], third_bits[512];
      PackQuads(blocks, 32, 64, two_bits);
      PackQuads(blocks, 0, 32, third_bits);
      PackThreeBits(two_bits, third_bits, out + 256);
      break;
    }
    case DType::kQ4_K:
      PackRows<2>(blocks, 0, 2, out);
      PackRows<1>(blocks, 4, 12, out + 64);
      PackQuads(blocks, 16, 128, out + 256);
      break;
    case DType::kQ5_K:
      PackRows<2>(blocks, 0, 2, out);
      PackRows<1>(blocks, 4, 12, out + 64);
      PackQuads(blocks, 16, 32, out + 256);
      PackQuads(blocks, 48, 128, out + 768);
      break;
    case DType::kQ6_K:
      PackRows<2>(blocks, 208, 1, out);
      PackRows<1>(blocks, 192, 16, out + 64);
      PackQuads(blocks, 0, 128, out + 320);
      PackQuads(blocks, 128, 64, out + 320 + 2048);
      break;
    case DType::kIQ4_XS:
      PackRows<2>(blocks, 0, 1, out);
      PackRows<1>(blocks, 2, 2, out + 64);
      PackRows<1>(blocks, 4, 4, out + 96);
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
  const int64_t num_blocks = source.cols / block_cols;
  const int64_t block_bytes = source.row_bytes / num_blocks;
  const int64_t record_blocks = record.cols / block_cols;
  auto* out = reinterpret_cast<uint8_t*>(panel);
  __builtin_memset(out, 0, static_cast<size_t>(records * record.bytes));
  const auto* begin = reinterpret_cast<const uint8_t*>(source.rows_begin);
  for (int64_t block = 0; block < records * record_blocks; ++block) {
    const int64_t rows = block < num_blocks ? source.rows : 0;
    const uint8_t* blocks[kPanelRows];
    for (int64_t r = 0; r < rows; ++r)
      blocks[r] = begin + r * source.row_bytes + block * block_bytes;
    for (int64_t r = rows; r < kPanelRows; ++r) blocks[r] = kNoBlock;
    uint8_t* to = out + block / record_blocks * record.bytes;
    if (record_blocks == 2) {
      PackBlockOf32(source.type, blocks, static_cast<int>(block % 2), to);
    } else {
      PackBlockOf256(source.type, blocks, to);
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
      if constexpr (std::is_same_v<P, PanelQ3_K>) starts[i] *= P::StartTimes(i);
      start -= P::kFoldOffset * sum;
    }
    __builtin_memset(extra, 0, kWideExtraBytes);
    __builtin_memcpy(extra, &scale, 4);
    __builtin_memcpy(extra + kWideStartAt, &start, 4);
    __builtin_memcpy(extra + kWideSumsAt, sums, sizeof sums);
    if constexpr (P::kMins && P::kHalves) {
      for (int i = 0; i < 16; ++i) {
        extra[kWideSplitSumsAt + i] = static_cast<uint8_t>(sums[i] & 127);
        extra[kWideSplitSumsAt + 16 + i] = static_cast<uint8_t>(sums[i] >> 7);
      }
    } else {
      __builtin_memcpy(extra + kWideStartsAt, starts, sizeof starts);
    }
  }
}

inline void RoundTile(const TileSource& source, std::byte* tile) {
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

constexpr PanelKernels kPanels = {.tile_tokens = kTileTokens,
                                  .halves = false,
                                  .pack = PackPanel,
                                  .round = RoundTile,
                                  .dots = RunPanelDots};
constexpr const RowKernels* kRowKernels = nullptr;

}  // namespace
}  // namespace cadre::CADRE_ISA
