// Stored rows of every weight type to floats or to signed bytes with scales. Plain loops over
// blocks of fixed size, which the compiler turns into the vectors of the instruction set. Include
// after a simd_*_inl.h.
#pragma once

#include "cpu/kernels.h"

namespace cadre::CADRE_ISA {
namespace {

// Where row r of the unpacked form begins.
inline int8_t* ValuesOf(const ByteRows& rows, int64_t r) { return rows.values + r * rows.stride; }
inline float* ScalesOf(const ByteRows& rows, int64_t r) {
  return rows.scales + r * (rows.stride / 4);
}
inline float* OffsetsOf(const ByteRows& rows, int64_t r) {
  return rows.offsets + r * rows.offset_stride;
}

inline void FillScales(float* scales, int64_t count, float scale) {
  for (int64_t i = 0; i < count; ++i) scales[i] = scale;
}

// A loop of 16 bytes would be unrolled before it could become a vector.
typedef uint8_t Bytes16 __attribute__((vector_size(16)));
typedef uint8_t Bytes32 __attribute__((vector_size(32)));

inline Bytes16 LoadBytes16(const uint8_t* from) {
  Bytes16 bytes;
  __builtin_memcpy(&bytes, from, sizeof bytes);
  return bytes;
}

// Where the unpacked form of one block goes.
struct BlockOut {
  int8_t* values;
  float* scales;   // per 4 values
  float* offsets;  // per 16 values
};

// 16 pairs of nibbles to 32 levels: the low halves first.
inline void NibblesOf16(const uint8_t* pairs, int8_t* levels) {
  const Bytes16 bytes = LoadBytes16(pairs);
  const Bytes16 low = bytes & 15, high = bytes >> 4;
  __builtin_memcpy(levels, &low, sizeof low);
  __builtin_memcpy(levels + 16, &high, sizeof high);
}

inline void AddTo32(int8_t* values, int add) {
  Bytes32 bytes;
  __builtin_memcpy(&bytes, values, sizeof bytes);
  bytes += static_cast<uint8_t>(add);
  __builtin_memcpy(values, &bytes, sizeof bytes);
}

// Adds bit i of the four bytes to level i, as its fifth bit.
inline void AddFifthBits(const uint8_t* bits, int8_t* levels) {
  for (int i = 0; i < 32; ++i)
    levels[i] = static_cast<int8_t>(levels[i] | (bits[i / 8] >> i % 8 & 1) << 4);
}

inline void UnpackQ4_0(const uint8_t* block, BlockOut out) {
  FillScales(out.scales, 8, OneF16(block));
  NibblesOf16(block + 2, out.values);
  AddTo32(out.values, -8);
}

inline void UnpackQ4_1(const uint8_t* block, BlockOut out) {
  FillScales(out.scales, 8, OneF16(block));
  FillScales(out.offsets, 2, -OneF16(block + 2));
  NibblesOf16(block + 4, out.values);
}

inline void UnpackQ5_0(const uint8_t* block, BlockOut out) {
  FillScales(out.scales, 8, OneF16(block));
  NibblesOf16(block + 6, out.values);
  AddFifthBits(block + 2, out.values);
  AddTo32(out.values, -16);
}

inline void UnpackQ5_1(const uint8_t* block, BlockOut out) {
  FillScales(out.scales, 8, OneF16(block));
  FillScales(out.offsets, 2, -OneF16(block + 2));
  NibblesOf16(block + 8, out.values);
  AddFifthBits(block + 4, out.values);
}

inline void UnpackQ8_0(const uint8_t* block, BlockOut out) {
  FillScales(out.scales, 8, OneF16(block));
  __builtin_memcpy(out.values, block + 2, 32);
}

inline void UnpackQ2_K(const uint8_t* block, BlockOut out) {
  const float d = OneF16(block + 80), dmin = OneF16(block + 82);
  for (int j = 0; j < 16; ++j) {
    FillScales(out.scales + 4 * j, 4, d * static_cast<float>(block[j] & 15));
    out.offsets[j] = dmin * static_cast<float>(block[j] >> 4);
  }
  for (int half = 0; half < 2; ++half) {
    const uint8_t* q = block + 16 + 32 * half;
    for (int group = 0; group < 4; ++group) {
      int8_t* values = out.values + 128 * half + 32 * group;
      for (int l = 0; l < 32; ++l) values[l] = static_cast<int8_t>(q[l] >> 2 * group & 3);
    }
  }
}

inline void UnpackQ3_K(const uint8_t* block, BlockOut out) {
  const uint8_t* s = block + 96;
  const float d = OneF16(block + 108);
  for (int j = 0; j < 16; ++j) {
    const int low = j < 8 ? s[j] & 15 : s[j - 8] >> 4;
    const int scale = (low | (s[8 + j % 4] >> 2 * (j / 4) & 3) << 4) - 32;
    FillScales(out.scales + 4 * j, 4, d * static_cast<float>(scale));
  }
  for (int half = 0; half < 2; ++half) {
    const uint8_t* q = block + 32 + 32 * half;
    for (int group = 0; group < 4; ++group) {
      int8_t* values = out.values + 128 * half + 32 * group;
      const int bit = 4 * half + group;
      for (int l = 0; l < 32; ++l) {
        values[l] = static_cast<int8_t>(((q[l] >> 2 * group & 3) | (block[l] >> bit & 1) << 2) - 4);
      }
    }
  }
}

// Scales and minima of Q4_K and Q5_K.
inline void UnpackScaleMins(const uint8_t* block, BlockOut out) {
  const float d = OneF16(block), dmin = OneF16(block + 2);
  const uint8_t* s = block + 4;
  for (int j = 0; j < 8; ++j) {
    const int scale = j < 4 ? s[j] & 63 : (s[j + 4] & 15) | (s[j - 4] >> 6) << 4;
    const int min = j < 4 ? s[j + 4] & 63 : s[j + 4] >> 4 | (s[j] >> 6) << 4;
    FillScales(out.scales + 8 * j, 8, d * static_cast<float>(scale));
    FillScales(out.offsets + 2 * j, 2, dmin * static_cast<float>(min));
  }
}

inline void UnpackQ4_K(const uint8_t* block, BlockOut out) {
  UnpackScaleMins(block, out);
  for (int pair = 0; pair < 4; ++pair) {
    const uint8_t* q = block + 16 + 32 * pair;
    int8_t* values = out.values + 64 * pair;
    for (int l = 0; l < 32; ++l) values[l] = static_cast<int8_t>(q[l] & 15);
    for (int l = 0; l < 32; ++l) values[32 + l] = static_cast<int8_t>(q[l] >> 4);
  }
}

inline void UnpackQ5_K(const uint8_t* block, BlockOut out) {
  UnpackScaleMins(block, out);
  const uint8_t* high = block + 16;
  for (int pair = 0; pair < 4; ++pair) {
    const uint8_t* q = block + 48 + 32 * pair;
    int8_t* values = out.values + 64 * pair;
    for (int l = 0; l < 32; ++l)
      values[l] = static_cast<int8_t>((q[l] & 15) | (high[l] >> 2 * pair & 1) << 4);
    for (int l = 0; l < 32; ++l)
      values[32 + l] = static_cast<int8_t>(q[l] >> 4 | (high[l] >> (2 * pair + 1) & 1) << 4);
  }
}

inline void UnpackQ6_K(const uint8_t* block, BlockOut out) {
  const float d = OneF16(block + 208);
  for (int j = 0; j < 16; ++j) {
    FillScales(out.scales + 4 * j, 4, d * static_cast<float>(static_cast<int8_t>(block[192 + j])));
  }
  for (int half = 0; half < 2; ++half) {
    const uint8_t* low = block + 64 * half;
    const uint8_t* high = block + 128 + 32 * half;
    int8_t* q = out.values + 128 * half;
    for (int l = 0; l < 32; ++l) {
      q[l] = static_cast<int8_t>(((low[l] & 15) | (high[l] & 3) << 4) - 32);
      q[l + 32] = static_cast<int8_t>(((low[l + 32] & 15) | (high[l] >> 2 & 3) << 4) - 32);
      q[l + 64] = static_cast<int8_t>((low[l] >> 4 | (high[l] >> 4 & 3) << 4) - 32);
      q[l + 96] = static_cast<int8_t>((low[l + 32] >> 4 | high[l] >> 6 << 4) - 32);
    }
  }
}

// The levels of 16 pairs of places in the list of IQ4.
inline void Iq4Levels(const uint8_t* pairs, int8_t* levels) {
  static constexpr int8_t kLevels[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                         1,    13,   25,  38,  53,  69,  89,  113};
  NibblesOf16(pairs, levels);
  for (int i = 0; i < 32; ++i) levels[i] = kLevels[levels[i]];
}

inline void UnpackIQ4_NL(const uint8_t* block, BlockOut out) {
  FillScales(out.scales, 8, OneF16(block));
  Iq4Levels(block + 2, out.values);
}

inline void UnpackIQ4_XS(const uint8_t* block, BlockOut out) {
  const float d = OneF16(block);
  for (int j = 0; j < 8; ++j) {
    const int low = block[4 + j / 2] >> 4 * (j % 2) & 15;
    const int high = block[2 + j / 4] >> 2 * (j % 4) & 3;
    FillScales(out.scales + 8 * j, 8, d * static_cast<float>((low | high << 4) - 32));
    Iq4Levels(block + 8 + 16 * j, out.values + 32 * j);
  }
}

// A row of blocks of `elems` values in `size` bytes.
template <typename UnpackBlock>
inline void UnpackBlocks(const uint8_t* bytes, int64_t cols, int64_t elems, int64_t size,
                         BlockOut out, const UnpackBlock& unpack) {
  for (int64_t b = 0; b < cols / elems; ++b) {
    const int64_t i = b * elems;
    unpack(bytes + b * size, BlockOut{out.values + i, out.scales + i / 4, out.offsets + i / 16});
  }
}

// Values, scales and offsets past the row's end add nothing to a sum.
inline void ZeroTail(const ByteRows& rows, int64_t r, int64_t cols) {
  for (int64_t i = cols; i < rows.stride; ++i) ValuesOf(rows, r)[i] = 0;
  for (int64_t i = cols / 4; i < rows.stride / 4; ++i) ScalesOf(rows, r)[i] = 0;
  for (int64_t i = cols / 16; i < rows.offset_stride; ++i) OffsetsOf(rows, r)[i] = 0;
}

// Row r of `rows` from a row of a quantised type. Offsets are written for kTypesWithOffsets.
inline void UnpackRow(DType type, const std::byte* row, int64_t cols, ByteRows rows, int64_t r) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(row);
  const BlockOut out = {ValuesOf(rows, r), ScalesOf(rows, r), OffsetsOf(rows, r)};
  switch (type) {
    case DType::kQ4_0:
      UnpackBlocks(bytes, cols, 32, 18, out, UnpackQ4_0);
      break;
    case DType::kQ4_1:
      UnpackBlocks(bytes, cols, 32, 20, out, UnpackQ4_1);
      break;
    case DType::kQ5_0:
      UnpackBlocks(bytes, cols, 32, 22, out, UnpackQ5_0);
      break;
    case DType::kQ5_1:
      UnpackBlocks(bytes, cols, 32, 24, out, UnpackQ5_1);
      break;
    case DType::kQ8_0:
      UnpackBlocks(bytes, cols, 32, 34, out, UnpackQ8_0);
      break;
    case DType::kQ2_K:
      UnpackBlocks(bytes, cols, 256, 84, out, UnpackQ2_K);
      break;
    case DType::kQ3_K:
      UnpackBlocks(bytes, cols, 256, 110, out, UnpackQ3_K);
      break;
    case DType::kQ4_K:
      UnpackBlocks(bytes, cols, 256, 144, out, UnpackQ4_K);
      break;
    case DType::kQ5_K:
      UnpackBlocks(bytes, cols, 256, 176, out, UnpackQ5_K);
      break;
    case DType::kQ6_K:
      UnpackBlocks(bytes, cols, 256, 210, out, UnpackQ6_K);
      break;
    case DType::kIQ4_NL:
      UnpackBlocks(bytes, cols, 32, 18, out, UnpackIQ4_NL);
      break;
    case DType::kIQ4_XS:
      UnpackBlocks(bytes, cols, 256, 136, out, UnpackIQ4_XS);
      break;
    case DType::kF32:
    case DType::kF16:
    case DType::kBF16:
      break;
  }
  ZeroTail(rows, r, cols);
}

// value * scale - offset in the order of tensor/quant.cc, so bit for bit the same floats. In every
// type sixteen values share a scale.
inline void DecodeBytes(const ByteRows& row, bool has_offsets, int64_t cols, float* out) {
  static_assert(16 % kLanes == 0);
  for (int64_t g = 0; g < cols / 16; ++g) {
    const VecF scale = Broadcast(row.scales[4 * g]);
    const VecF offset = Broadcast(has_offsets ? row.offsets[g] : 0);
    for (int64_t i = 16 * g; i < 16 * g + 16; i += kLanes)
      StoreF32(out + i, Sub(Mul(LoadI8(row.values + i), scale), offset));
  }
}

inline void DecodeRow(DType type, const std::byte* row, int64_t cols, ByteRows unpacked,
                      float* out) {
  if (type == DType::kF32) {
    __builtin_memcpy(out, row, static_cast<size_t>(cols) * 4);
  } else if (type == DType::kF16 || type == DType::kBF16) {
    const bool is_f16 = type == DType::kF16;
    int64_t i = 0;
    for (; i + kLanes <= cols; i += kLanes)
      StoreF32(out + i, is_f16 ? LoadF16(row + 2 * i) : LoadBF16(row + 2 * i));
    if (i < cols) {
      const int64_t n = cols - i;
      StoreF32N(out + i, is_f16 ? LoadF16N(row + 2 * i, n) : LoadBF16N(row + 2 * i, n), n);
    }
  } else {
    UnpackRow(type, row, cols, unpacked, 0);
    DecodeBytes(unpacked, (kTypesWithOffsets >> static_cast<int>(type) & 1) != 0, cols, out);
  }
}

}  // namespace
}  // namespace cadre::CADRE_ISA
