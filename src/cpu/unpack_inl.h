// Stored rows of every weight type to floats or to signed bytes with scales, and activations to the
// latter. Plain loops over blocks of fixed size, which the compiler turns into the vectors of the
// instruction set. Include after a simd_*_inl.h.
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

inline void UnpackQ4_0(const uint8_t* block, int8_t* values, float* scales) {
  FillScales(scales, 8, OneF16(block));
  Bytes16 pairs;
  __builtin_memcpy(&pairs, block + 2, sizeof pairs);
  const Bytes16 low = (pairs & 15) - 8;
  const Bytes16 high = (pairs >> 4) - 8;
  __builtin_memcpy(values, &low, sizeof low);
  __builtin_memcpy(values + 16, &high, sizeof high);
}

inline void UnpackQ8_0(const uint8_t* block, int8_t* values, float* scales) {
  FillScales(scales, 8, OneF16(block));
  __builtin_memcpy(values, block + 2, 32);
}

inline void UnpackQ4_K(const uint8_t* block, int8_t* values, float* scales, float* offsets) {
  const float d = OneF16(block);
  const float dmin = OneF16(block + 2);
  const uint8_t* s = block + 4;
  for (int j = 0; j < 8; ++j) {
    const int scale = j < 4 ? s[j] & 63 : (s[j + 4] & 15) | (s[j - 4] >> 6) << 4;
    const int min = j < 4 ? s[j + 4] & 63 : s[j + 4] >> 4 | (s[j] >> 6) << 4;
    FillScales(scales + 8 * j, 8, d * static_cast<float>(scale));
    offsets[j] = dmin * static_cast<float>(min);
  }
  for (int pair = 0; pair < 4; ++pair) {
    const uint8_t* q = block + 16 + 32 * pair;
    for (int l = 0; l < 32; ++l) values[64 * pair + l] = static_cast<int8_t>(q[l] & 15);
    for (int l = 0; l < 32; ++l) values[64 * pair + 32 + l] = static_cast<int8_t>(q[l] >> 4);
  }
}

inline void UnpackQ6_K(const uint8_t* block, int8_t* values, float* scales) {
  const float d = OneF16(block + 208);
  for (int j = 0; j < 16; ++j) {
    FillScales(scales + 4 * j, 4, d * static_cast<float>(static_cast<int8_t>(block[192 + j])));
  }
  for (int half = 0; half < 2; ++half) {
    const uint8_t* low = block + 64 * half;
    const uint8_t* high = block + 128 + 32 * half;
    int8_t* q = values + 128 * half;
    for (int l = 0; l < 32; ++l) {
      q[l] = static_cast<int8_t>(((low[l] & 15) | (high[l] & 3) << 4) - 32);
      q[l + 32] = static_cast<int8_t>(((low[l + 32] & 15) | (high[l] >> 2 & 3) << 4) - 32);
      q[l + 64] = static_cast<int8_t>((low[l] >> 4 | (high[l] >> 4 & 3) << 4) - 32);
      q[l + 96] = static_cast<int8_t>((low[l + 32] >> 4 | high[l] >> 6 << 4) - 32);
    }
  }
}

// Values, scales and offsets past the row's end add nothing to a sum.
inline void ZeroTail(const ByteRows& rows, int64_t r, int64_t cols) {
  for (int64_t i = cols; i < rows.stride; ++i) ValuesOf(rows, r)[i] = 0;
  for (int64_t i = cols / 4; i < rows.stride / 4; ++i) ScalesOf(rows, r)[i] = 0;
  for (int64_t i = cols / 32; i < rows.offset_stride; ++i) OffsetsOf(rows, r)[i] = 0;
}

// Row r of `rows` from a row of a quantised type. Offsets are written for Q4_K only.
inline void UnpackRow(DType type, const std::byte* row, int64_t cols, ByteRows rows, int64_t r) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(row);
  int8_t* values = ValuesOf(rows, r);
  float* scales = ScalesOf(rows, r);
  float* offsets = OffsetsOf(rows, r);
  switch (type) {
    case DType::kQ4_0:
      for (int64_t b = 0; b < cols / 32; ++b)
        UnpackQ4_0(bytes + 18 * b, values + 32 * b, scales + 8 * b);
      break;
    case DType::kQ8_0:
      for (int64_t b = 0; b < cols / 32; ++b)
        UnpackQ8_0(bytes + 34 * b, values + 32 * b, scales + 8 * b);
      break;
    case DType::kQ4_K:
      for (int64_t b = 0; b < cols / 256; ++b) {
        UnpackQ4_K(bytes + 144 * b, values + 256 * b, scales + 64 * b, offsets + 8 * b);
      }
      break;
    case DType::kQ6_K:
      for (int64_t b = 0; b < cols / 256; ++b)
        UnpackQ6_K(bytes + 210 * b, values + 256 * b, scales + 64 * b);
      break;
    case DType::kF32:
    case DType::kF16:
    case DType::kBF16:
      break;
  }
  ZeroTail(rows, r, cols);
}

// Row r of `rows` from floats: groups of 32 rounded to nearest even at scale amax / 127, with the
// sums of the rounded values. A group that is not finite has a scale that is not, so that the sums
// show it.
inline void RoundRow(const float* x, int64_t cols, ByteRows rows, int64_t r) {
  for (int64_t g = 0; g < cols / 32; ++g) {
    int8_t* values = ValuesOf(rows, r) + 32 * g;
    const float scale = MaxMagnitude(x + 32 * g, 32) / 127;
    const float inverse = 1 / scale;
    int32_t sum = 0;
    if (inverse > 0 && inverse < __builtin_inff()) {
      for (int64_t i = 0; i < 32; i += kLanes)
        StoreAsI8N(values + i, LoadF32(x + 32 * g + i), inverse, kLanes);
      for (int64_t i = 0; i < 32; ++i) sum += values[i];
    } else {
      for (int64_t i = 0; i < 32; ++i) values[i] = 0;
    }
    FillScales(ScalesOf(rows, r) + 8 * g, 8, scale);
    OffsetsOf(rows, r)[g] = scale * static_cast<float>(sum);
  }
  ZeroTail(rows, r, cols);
}

// value * scale - offset in the order of tensor/quant.cc, so bit for bit the same floats.
inline void DecodeBytes(const ByteRows& row, bool has_offsets, int64_t cols, float* out) {
  for (int64_t g = 0; g < cols / 16; ++g) {
    for (int64_t i = 16 * g; i < 16 * g + 16; ++i)
      out[i] = static_cast<float>(row.values[i]) * row.scales[i / 4];
    if (!has_offsets) continue;
    for (int64_t i = 16 * g; i < 16 * g + 16; ++i) out[i] -= row.offsets[g / 2];
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
    DecodeBytes(unpacked, type == DType::kQ4_K, cols, out);
  }
}

}  // namespace
}  // namespace cadre::CADRE_ISA
