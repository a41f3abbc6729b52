#include "tensor/quant.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "tensor/float16.h"
#include "tensor/quant_search.h"

namespace cadre {
namespace {

float ReadF16(const std::byte* bytes) {
  F16 half;
  std::memcpy(&half, bytes, sizeof half);
  return ToFloat(half);
}

void WriteF16(float value, std::byte* bytes) {
  const F16 half = ToF16(value);
  std::memcpy(bytes, &half, sizeof half);
}

int Byte(std::byte b) { return static_cast<int>(b); }

void DecodeQ4_0(const std::byte* block, float* out) {
  const float d = ReadF16(block);
  for (int j = 0; j < 16; ++j) {
    const int pair = Byte(block[2 + j]);
    out[j] = static_cast<float>((pair & 15) - 8) * d;
    out[j + 16] = static_cast<float>((pair >> 4) - 8) * d;
  }
}

void DecodeQ8_0(const std::byte* block, float* out) {
  const float d = ReadF16(block);
  for (int i = 0; i < 32; ++i) out[i] = static_cast<float>(static_cast<int8_t>(block[2 + i])) * d;
}

// The 6-bit scale and minimum of sub-block j (0..7), packed in 12 bytes.
struct ScaleMin {
  int scale, min;
};
ScaleMin UnpackScaleMin(const std::byte* s, int j) {
  if (j < 4) return {Byte(s[j]) & 63, Byte(s[j + 4]) & 63};
  return {(Byte(s[j + 4]) & 15) | (Byte(s[j - 4]) >> 6) << 4,
          Byte(s[j + 4]) >> 4 | (Byte(s[j]) >> 6) << 4};
}

void DecodeQ4_K(const std::byte* block, float* out) {
  const float d = ReadF16(block);
  const float dmin = ReadF16(block + 2);
  for (int j = 0; j < 8; ++j) {
    const auto [scale, min] = UnpackScaleMin(block + 4, j);
    const float step = d * static_cast<float>(scale);
    const float offset = dmin * static_cast<float>(min);
    const std::byte* q = block + 16 + 32 * (j / 2);
    for (int l = 0; l < 32; ++l) {
      const int nibble = j % 2 == 0 ? Byte(q[l]) & 15 : Byte(q[l]) >> 4;
      out[32 * j + l] = step * static_cast<float>(nibble) - offset;
    }
  }
}

void DecodeQ6_K(const std::byte* block, float* out) {
  const std::byte* low = block;
  const std::byte* high = block + 128;
  const float d = ReadF16(block + 208);
  for (int i = 0; i < 256; ++i) {
    const int half = i / 128;
    const int g = i % 128 / 32;  // which 32 of the half
    const int l = i % 32;
    const int pair = Byte(low[64 * half + 32 * (g & 1) + l]);
    const int q =
        ((g < 2 ? pair & 15 : pair >> 4) | (Byte(high[32 * half + l]) >> 2 * g & 3) << 4) - 32;
    const auto scale = static_cast<float>(static_cast<int8_t>(block[192 + i / 16]));
    out[i] = d * scale * static_cast<float>(q);
  }
}

// The largest finite scale stands in for one that binary16 cannot hold.
float StoredScale(float scale) { return ToFloat(ToF16(std::clamp(scale, -65504.0f, 65504.0f))); }

// 1 / scale, or 0 where that is not a number to multiply with.
float Inverse(float scale) {
  const float inverse = 1.0f / scale;
  return scale == 0 || std::isinf(inverse) ? 0.0f : inverse;
}

// The value of the largest magnitude maps to -8; ggml rounds with the float scale, not with the
// stored one.
void EncodeQ4_0(const float* x, std::byte* block) {
  float extreme = 0;
  for (int i = 0; i < 32; ++i) {
    if (std::abs(x[i]) > std::abs(extreme)) extreme = x[i];
  }
  const float d = extreme / -8;
  const float inverse = Inverse(d);
  WriteF16(StoredScale(d), block);
  // Half up after the shift, as ggml does.
  const auto level = [&](float value) { return TruncatedInt(value * inverse + 8.5f, 0, 15); };
  for (int j = 0; j < 16; ++j)
    block[2 + j] = static_cast<std::byte>(level(x[j]) | level(x[j + 16]) << 4);
}

void EncodeQ8_0(const float* x, std::byte* block) {
  float extreme = 0;
  for (int i = 0; i < 32; ++i) extreme = std::max(extreme, std::abs(x[i]));
  const float d = extreme / 127;
  const float inverse = Inverse(d);
  WriteF16(StoredScale(d), block);
  for (int i = 0; i < 32; ++i) {
    block[2 + i] = static_cast<std::byte>(TruncatedInt(std::round(x[i] * inverse), -127, 127));
  }
}

void EncodeQ4_K(const float* x, std::byte* block) {
  const AffineBlock found = SearchAffineBlock(x);
  WriteF16(found.d, block);
  WriteF16(found.dmin, block + 2);
  std::memset(block + 4, 0, 12);
  for (int j = 0; j < 8; ++j) {
    const int scale = found.scale[j];
    const int min = found.min[j];
    if (j < 4) {
      block[4 + j] |= static_cast<std::byte>(scale);
      block[8 + j] |= static_cast<std::byte>(min);
    } else {
      block[8 + j] = static_cast<std::byte>((scale & 15) | (min & 15) << 4);
      block[j] |= static_cast<std::byte>(scale >> 4 << 6);
      block[4 + j] |= static_cast<std::byte>(min >> 4 << 6);
    }
    for (int l = 0; l < 32 && j % 2 == 0; ++l) {
      block[16 + 16 * j + l] =
          static_cast<std::byte>(found.q[32 * j + l] | found.q[32 * j + 32 + l] << 4);
    }
  }
}

void EncodeQ6_K(const float* x, std::byte* block) {
  const SymmetricBlock found = SearchSymmetricBlock(x);
  std::memset(block, 0, 192);
  for (int i = 0; i < 256; ++i) {
    const int half = i / 128;
    const int g = i % 128 / 32;
    const int l = i % 32;
    const int level = found.q[i] + 32;
    block[64 * half + 32 * (g & 1) + l] |= static_cast<std::byte>((level & 15) << (g < 2 ? 0 : 4));
    block[128 + 32 * half + l] |= static_cast<std::byte>(level >> 4 << 2 * g);
  }
  for (int j = 0; j < 16; ++j) block[192 + j] = static_cast<std::byte>(found.scale[j]);
  WriteF16(found.d, block + 208);
}

}  // namespace

void DecodeRow(DType type, const std::byte* bytes, std::span<float> out) {
  const auto& info = Info(type);
  CADRE_CHECK(out.size() % static_cast<size_t>(info.block_elems) == 0);
  if (out.empty()) return;
  if (type == DType::kF32) {
    std::memcpy(out.data(), bytes, out.size_bytes());
    return;
  }
  const auto num_blocks = static_cast<int64_t>(out.size()) / info.block_elems;
  for (int64_t b = 0; b < num_blocks; ++b) {
    const std::byte* block = bytes + b * info.block_bytes;
    float* values = out.data() + b * info.block_elems;
    switch (type) {
      case DType::kF32:
        break;
      case DType::kF16:
        *values = ReadF16(block);
        break;
      case DType::kBF16: {
        BF16 bits;
        std::memcpy(&bits, block, sizeof bits);
        *values = ToFloat(bits);
        break;
      }
      case DType::kQ4_0:
        DecodeQ4_0(block, values);
        break;
      case DType::kQ8_0:
        DecodeQ8_0(block, values);
        break;
      case DType::kQ4_K:
        DecodeQ4_K(block, values);
        break;
      case DType::kQ6_K:
        DecodeQ6_K(block, values);
        break;
    }
  }
}

void EncodeRow(DType type, std::span<const float> values, std::byte* bytes) {
  const auto& info = Info(type);
  CADRE_CHECK(values.size() % static_cast<size_t>(info.block_elems) == 0);
  if (values.empty()) return;
  if (type == DType::kF32) {
    std::memcpy(bytes, values.data(), values.size_bytes());
    return;
  }
  const auto num_blocks = static_cast<int64_t>(values.size()) / info.block_elems;
  for (int64_t b = 0; b < num_blocks; ++b) {
    const float* x = values.data() + b * info.block_elems;
    std::byte* block = bytes + b * info.block_bytes;
    switch (type) {
      case DType::kF32:
        break;
      case DType::kF16:
        WriteF16(*x, block);
        break;
      case DType::kBF16: {
        const BF16 bits = ToBF16(*x);
        std::memcpy(block, &bits, sizeof bits);
        break;
      }
      case DType::kQ4_0:
        EncodeQ4_0(x, block);
        break;
      case DType::kQ8_0:
        EncodeQ8_0(x, block);
        break;
      case DType::kQ4_K:
        EncodeQ4_K(x, block);
        break;
      case DType::kQ6_K:
        EncodeQ6_K(x, block);
        break;
    }
  }
}

}  // namespace cadre
