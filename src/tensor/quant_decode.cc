#include "base/error.h"
#include "tensor/block_layout.h"
#include "tensor/quant.h"

namespace cadre {
namespace {

using Decode = void (*)(const std::byte* block, float* out);

void DecodeF16(const std::byte* block, float* out) { *out = ReadF16(block); }

void DecodeBF16(const std::byte* block, float* out) {
  BF16 bits;
  std::memcpy(&bits, block, sizeof bits);
  *out = ToFloat(bits);
}

// Nibble i of 16 bytes: the low halves are values 0 to 15, the high ones 16 to 31.
int Nibble(const std::byte* pairs, int i) {
  return i < 16 ? Byte(pairs[i]) & 15 : Byte(pairs[i - 16]) >> 4;
}

// The same with a fifth bit from a word of 32.
int FiveBits(const std::byte* pairs, const std::byte* high, int i) {
  return Nibble(pairs, i) | (Byte(high[i / 8]) >> i % 8 & 1) << 4;
}

void DecodeQ4_0(const std::byte* block, float* out) {
  const float d = ReadF16(block);
  for (int i = 0; i < 32; ++i) out[i] = static_cast<float>(Nibble(block + 2, i) - 8) * d;
}

void DecodeQ4_1(const std::byte* block, float* out) {
  const float d = ReadF16(block), m = ReadF16(block + 2);
  for (int i = 0; i < 32; ++i) out[i] = static_cast<float>(Nibble(block + 4, i)) * d + m;
}

void DecodeQ5_0(const std::byte* block, float* out) {
  const float d = ReadF16(block);
  for (int i = 0; i < 32; ++i)
    out[i] = static_cast<float>(FiveBits(block + 6, block + 2, i) - 16) * d;
}

void DecodeQ5_1(const std::byte* block, float* out) {
  const float d = ReadF16(block), m = ReadF16(block + 2);
  for (int i = 0; i < 32; ++i)
    out[i] = static_cast<float>(FiveBits(block + 8, block + 4, i)) * d + m;
}

void DecodeQ8_0(const std::byte* block, float* out) {
  const float d = ReadF16(block);
  for (int i = 0; i < 32; ++i) out[i] = static_cast<float>(static_cast<int8_t>(block[2 + i])) * d;
}

// Two bits of the 64 bytes of Q2_K and Q3_K.
int TwoBits(const std::byte* qs, const PlaceIn256& at) {
  return Byte(qs[32 * at.half + at.lane]) >> 2 * at.group & 3;
}

void DecodeQ2_K(const std::byte* block, float* out) {
  const float d = ReadF16(block + 80), dmin = ReadF16(block + 82);
  for (int i = 0; i < 256; ++i) {
    const int scale_min = Byte(block[i / 16]);
    const float step = d * static_cast<float>(scale_min & 15);
    const float offset = dmin * static_cast<float>(scale_min >> 4);
    out[i] = step * static_cast<float>(TwoBits(block + 16, PlaceIn256(i))) - offset;
  }
}

void DecodeQ3_K(const std::byte* block, float* out) {
  const std::byte* scales = block + 96;
  const float d = ReadF16(block + 108);
  for (int i = 0; i < 256; ++i) {
    const PlaceIn256 at(i);
    const int j = i / 16;
    const int low = j < 8 ? Byte(scales[j]) & 15 : Byte(scales[j - 8]) >> 4;
    const int scale = (low | (Byte(scales[8 + j % 4]) >> 2 * (j / 4) & 3) << 4) - 32;
    const bool upper = (Byte(block[at.lane]) >> (4 * at.half + at.group) & 1) != 0;
    const int q = TwoBits(block + 32, at) - (upper ? 0 : 4);
    out[i] = d * static_cast<float>(scale) * static_cast<float>(q);
  }
}

// The 6-bit scale and minimum of sub-block j (0..7) of Q4_K and Q5_K, packed in 12 bytes.
struct ScaleMin {
  int scale, min;
};
ScaleMin UnpackScaleMin(const std::byte* s, int j) {
  if (j < 4) return {Byte(s[j]) & 63, Byte(s[j + 4]) & 63};
  return {(Byte(s[j + 4]) & 15) | (Byte(s[j - 4]) >> 6) << 4,
          Byte(s[j + 4]) >> 4 | (Byte(s[j]) >> 6) << 4};
}

// Q4_K, and Q5_K where `high` holds the fifth bits: bit j of byte l is that of value l of sub-block
// j.
void DecodeAffine256(const std::byte* block, const std::byte* high, const std::byte* qs,
                     float* out) {
  const float d = ReadF16(block), dmin = ReadF16(block + 2);
  for (int j = 0; j < 8; ++j) {
    const auto [scale, min] = UnpackScaleMin(block + 4, j);
    const float step = d * static_cast<float>(scale);
    const float offset = dmin * static_cast<float>(min);
    for (int l = 0; l < 32; ++l) {
      const int pair = Byte(qs[32 * (j / 2) + l]);
      int q = j % 2 == 0 ? pair & 15 : pair >> 4;
      if (high != nullptr) q |= (Byte(high[l]) >> j & 1) << 4;
      out[32 * j + l] = step * static_cast<float>(q) - offset;
    }
  }
}

void DecodeQ4_K(const std::byte* block, float* out) {
  DecodeAffine256(block, nullptr, block + 16, out);
}

void DecodeQ5_K(const std::byte* block, float* out) {
  DecodeAffine256(block, block + 16, block + 48, out);
}

void DecodeQ6_K(const std::byte* block, float* out) {
  const float d = ReadF16(block + 208);
  for (int i = 0; i < 256; ++i) {
    const PlaceIn256 at(i);
    const int pair = Byte(block[64 * at.half + 32 * (at.group & 1) + at.lane]);
    const int high = Byte(block[128 + 32 * at.half + at.lane]) >> 2 * at.group & 3;
    const int q = ((at.group < 2 ? pair & 15 : pair >> 4) | high << 4) - 32;
    const auto scale = static_cast<float>(static_cast<int8_t>(block[192 + i / 16]));
    out[i] = d * scale * static_cast<float>(q);
  }
}

void DecodeIQ4_NL(const std::byte* block, float* out) {
  const float d = ReadF16(block);
  for (int i = 0; i < 32; ++i) out[i] = d * static_cast<float>(kIq4Levels[Nibble(block + 2, i)]);
}

void DecodeIQ4_XS(const std::byte* block, float* out) {
  const float d = ReadF16(block);
  for (int j = 0; j < 8; ++j) {
    const int low = Byte(block[4 + j / 2]) >> 4 * (j % 2) & 15;
    const int high = Byte(block[2 + j / 4]) >> 2 * (j % 4) & 3;
    const float step = d * static_cast<float>((low | high << 4) - 32);
    for (int i = 0; i < 32; ++i) {
      out[32 * j + i] = step * static_cast<float>(kIq4Levels[Nibble(block + 8 + 16 * j, i)]);
    }
  }
}

Decode DecodeOf(DType type) {
  switch (type) {
    case DType::kF32:
      break;
    case DType::kF16:
      return DecodeF16;
    case DType::kBF16:
      return DecodeBF16;
    case DType::kQ4_0:
      return DecodeQ4_0;
    case DType::kQ4_1:
      return DecodeQ4_1;
    case DType::kQ5_0:
      return DecodeQ5_0;
    case DType::kQ5_1:
      return DecodeQ5_1;
    case DType::kQ8_0:
      return DecodeQ8_0;
    case DType::kQ2_K:
      return DecodeQ2_K;
    case DType::kQ3_K:
      return DecodeQ3_K;
    case DType::kQ4_K:
      return DecodeQ4_K;
    case DType::kQ5_K:
      return DecodeQ5_K;
    case DType::kQ6_K:
      return DecodeQ6_K;
    case DType::kIQ4_NL:
      return DecodeIQ4_NL;
    case DType::kIQ4_XS:
      return DecodeIQ4_XS;
  }
  CADRE_CHECK(false && "no blocks of this type");
  return nullptr;
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
  const Decode decode = DecodeOf(type);
  const auto num_blocks = static_cast<int64_t>(out.size()) / info.block_elems;
  for (int64_t b = 0; b < num_blocks; ++b)
    decode(bytes + b * info.block_bytes, out.data() + b * info.block_elems);
}

}  // namespace cadre
