#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.h"
#include "tensor/block_layout.h"
#include "tensor/quant.h"
#include "tensor/quant_search.h"

namespace cadre {
namespace {

// `w`: what each value weighs.
using Encode = void (*)(const float* x, const float* w, std::byte* block);

void EncodeF16(const float* x, const float*, std::byte* block) { WriteF16(*x, block); }

void EncodeBF16(const float* x, const float*, std::byte* block) {
  const BF16 bits = ToBF16(*x);
  std::memcpy(block, &bits, sizeof bits);
}

// 1 / scale, or 0 where that is not a number to multiply with.
float Inverse(float scale) {
  const float inverse = 1.0f / scale;
  return scale == 0 || std::isinf(inverse) ? 0.0f : inverse;
}

// The value of the largest magnitude.
float ExtremeOf32(const float* x) {
  float extreme = 0;
  for (int i = 0; i < 32; ++i) {
    if (std::abs(x[i]) > std::abs(extreme)) extreme = x[i];
  }
  return extreme;
}

// 32 levels as nibbles, and where `high` is given their fifth bits.
void PackLevels32(const int (&levels)[32], std::byte* pairs, std::byte* high) {
  for (int i = 0; i < 16; ++i)
    pairs[i] = static_cast<std::byte>((levels[i] & 15) | (levels[i + 16] & 15) << 4);
  if (high == nullptr) return;
  std::memset(high, 0, 4);
  for (int i = 0; i < 32; ++i) high[i / 8] |= static_cast<std::byte>(levels[i] >> 4 << i % 8);
}

// The value of the largest magnitude maps to -half; levels are stored from 0, and rounded half up
// after the shift, with the float scale and not the stored one, as ggml does.
void EncodeSymmetric32(const float* x, int half, std::byte* block, std::byte* pairs,
                       std::byte* high) {
  const float d = ExtremeOf32(x) / static_cast<float>(-half);
  const float inverse = Inverse(d);
  WriteF16(NearestF16(d), block);
  int levels[32];
  for (int i = 0; i < 32; ++i) {
    levels[i] = TruncatedInt(x[i] * inverse + static_cast<float>(half) + 0.5f, 0, 2 * half - 1);
  }
  PackLevels32(levels, pairs, high);
}

void EncodeQ4_0(const float* x, const float*, std::byte* block) {
  EncodeSymmetric32(x, 8, block, block + 2, nullptr);
}
void EncodeQ5_0(const float* x, const float*, std::byte* block) {
  EncodeSymmetric32(x, 16, block, block + 6, block + 2);
}

// The range over max_level steps.
void EncodeAffine32(const float* x, int max_level, std::byte* block, std::byte* pairs,
                    std::byte* high) {
  const auto [min, max] = std::minmax_element(x, x + 32);
  // The range of extreme values may be no float, though each of its ends is one.
  const float d = NearestF16((static_cast<double>(*max) - *min) / max_level) == 65504.0f
                      ? 65504.0f
                      : (*max - *min) / static_cast<float>(max_level);
  const float inverse = Inverse(d);
  WriteF16(NearestF16(d), block);
  WriteF16(NearestF16(*min), block + 2);
  int levels[32];
  for (int i = 0; i < 32; ++i)
    levels[i] = TruncatedInt((x[i] - *min) * inverse + 0.5f, 0, max_level);
  PackLevels32(levels, pairs, high);
}

void EncodeQ4_1(const float* x, const float*, std::byte* block) {
  EncodeAffine32(x, 15, block, block + 4, nullptr);
}
void EncodeQ5_1(const float* x, const float*, std::byte* block) {
  EncodeAffine32(x, 31, block, block + 8, block + 4);
}

// The weighted counterparts of the four above: scales searched.
template <size_t kLevels>
void SearchSymmetric32(const float* x, const float* w, const std::array<int8_t, kLevels>& of,
                       std::byte* block, std::byte* pairs, std::byte* high) {
  int8_t level[32];
  WriteF16(SearchLevels({x, 32}, w, of, level), block);
  int levels[32];
  for (int i = 0; i < 32; ++i) levels[i] = level[i] - of[0];
  PackLevels32(levels, pairs, high);
}

void SearchAffine32(const float* x, const float* w, int max_level, std::byte* block,
                    std::byte* pairs, std::byte* high) {
  uint8_t q[32];
  const Line line = SearchLine({x, 32}, w, max_level, q);
  WriteF16(line.d, block);
  WriteF16(line.m, block + 2);
  int levels[32];
  std::copy_n(q, 32, levels);
  PackLevels32(levels, pairs, high);
}

template <size_t kLevels>
constexpr std::array<int8_t, kLevels> SymmetricLevels() {
  std::array<int8_t, kLevels> levels{};
  for (size_t i = 0; i < kLevels; ++i)
    levels[i] = static_cast<int8_t>(static_cast<int>(i) - static_cast<int>(kLevels / 2));
  return levels;
}
constexpr auto kFourBitLevels = SymmetricLevels<16>();
constexpr auto kFiveBitLevels = SymmetricLevels<32>();
constexpr auto kSixBitLevels = SymmetricLevels<64>();

void SearchQ4_0(const float* x, const float* w, std::byte* block) {
  SearchSymmetric32(x, w, kFourBitLevels, block, block + 2, nullptr);
}
void SearchQ5_0(const float* x, const float* w, std::byte* block) {
  SearchSymmetric32(x, w, kFiveBitLevels, block, block + 6, block + 2);
}
void SearchQ4_1(const float* x, const float* w, std::byte* block) {
  SearchAffine32(x, w, 15, block, block + 4, nullptr);
}
void SearchQ5_1(const float* x, const float* w, std::byte* block) {
  SearchAffine32(x, w, 31, block, block + 8, block + 4);
}

void EncodeQ8_0(const float* x, const float*, std::byte* block) {
  const float d = std::abs(ExtremeOf32(x)) / 127;
  const float inverse = Inverse(d);
  WriteF16(NearestF16(d), block);
  for (int i = 0; i < 32; ++i) {
    block[2 + i] = static_cast<std::byte>(TruncatedInt(std::round(x[i] * inverse), -127, 127));
  }
}

void EncodeQ2_K(const float* x, const float* w, std::byte* block) {
  const AffineBlock found = SearchAffineBlock(x, w, {.sub_size = 16, .max_q = 3, .max_scale = 15});
  std::memset(block, 0, 80);
  for (int j = 0; j < 16; ++j)
    block[j] = static_cast<std::byte>(found.scale[j] | found.min[j] << 4);
  for (int i = 0; i < 256; ++i) {
    const PlaceIn256 at(i);
    block[16 + 32 * at.half + at.lane] |= static_cast<std::byte>(found.q[i] << 2 * at.group);
  }
  WriteF16(found.d, block + 80);
  WriteF16(found.dmin, block + 82);
}

constexpr int8_t kThreeBitLevels[] = {-4, -3, -2, -1, 0, 1, 2, 3};

void EncodeQ3_K(const float* x, const float* w, std::byte* block) {
  const LevelBlock found = SearchLevelBlock(
      x, w, {.sub_size = 16, .levels = kThreeBitLevels, .min_scale = -32, .max_scale = 31});
  std::memset(block, 0, 108);
  for (int i = 0; i < 256; ++i) {
    const PlaceIn256 at(i);
    const int q = found.level[i] + 4;
    block[at.lane] |= static_cast<std::byte>(q >> 2 << (4 * at.half + at.group));
    block[32 + 32 * at.half + at.lane] |= static_cast<std::byte>((q & 3) << 2 * at.group);
  }
  for (int j = 0; j < 16; ++j) {
    const int scale = found.scale[j] + 32;
    block[96 + j % 8] |= static_cast<std::byte>((scale & 15) << (j < 8 ? 0 : 4));
    block[104 + j % 4] |= static_cast<std::byte>(scale >> 4 << 2 * (j / 4));
  }
  WriteF16(found.d, block + 108);
}

// Q4_K, and Q5_K where `high` takes the fifth bits.
void EncodeAffine256(const float* x, const float* w, std::byte* block, std::byte* high,
                     std::byte* qs) {
  const AffineBlock found = SearchAffineBlock(
      x, w, {.sub_size = 32, .max_q = high == nullptr ? 15 : 31, .max_scale = 63});
  WriteF16(found.d, block);
  WriteF16(found.dmin, block + 2);
  std::memset(block + 4, 0, 12);
  for (int j = 0; j < 8; ++j) {
    const int scale = found.scale[j], min = found.min[j];
    if (j < 4) {
      block[4 + j] |= static_cast<std::byte>(scale);
      block[8 + j] |= static_cast<std::byte>(min);
    } else {
      block[8 + j] = static_cast<std::byte>((scale & 15) | (min & 15) << 4);
      block[j] |= static_cast<std::byte>(scale >> 4 << 6);
      block[4 + j] |= static_cast<std::byte>(min >> 4 << 6);
    }
  }
  std::memset(qs, 0, 128);
  if (high != nullptr) std::memset(high, 0, 32);
  for (int i = 0; i < 256; ++i) {
    const int j = i / 32, l = i % 32, q = found.q[i];
    qs[32 * (j / 2) + l] |= static_cast<std::byte>((q & 15) << 4 * (j % 2));
    if (high != nullptr) high[l] |= static_cast<std::byte>(q >> 4 << j);
  }
}

void EncodeQ4_K(const float* x, const float* w, std::byte* block) {
  EncodeAffine256(x, w, block, nullptr, block + 16);
}
void EncodeQ5_K(const float* x, const float* w, std::byte* block) {
  EncodeAffine256(x, w, block, block + 16, block + 48);
}

void EncodeQ6_K(const float* x, const float* w, std::byte* block) {
  const LevelBlock found = SearchLevelBlock(
      x, w, {.sub_size = 16, .levels = kSixBitLevels, .min_scale = -128, .max_scale = 127});
  std::memset(block, 0, 192);
  for (int i = 0; i < 256; ++i) {
    const PlaceIn256 at(i);
    const int q = found.level[i] + 32;
    block[64 * at.half + 32 * (at.group & 1) + at.lane] |=
        static_cast<std::byte>((q & 15) << (at.group < 2 ? 0 : 4));
    block[128 + 32 * at.half + at.lane] |= static_cast<std::byte>(q >> 4 << 2 * at.group);
  }
  for (int j = 0; j < 16; ++j) block[192 + j] = static_cast<std::byte>(found.scale[j]);
  WriteF16(found.d, block + 208);
}

// 32 of the levels as their places in the list.
void PackIq4(const int8_t* level, std::byte* pairs) {
  int places[32];
  for (int i = 0; i < 32; ++i) {
    places[i] =
        static_cast<int>(std::lower_bound(kIq4Levels, kIq4Levels + 16, level[i]) - kIq4Levels);
  }
  PackLevels32(places, pairs, nullptr);
}

void EncodeIQ4_NL(const float* x, const float* w, std::byte* block) {
  int8_t level[32];
  WriteF16(SearchLevels({x, 32}, w, kIq4Levels, level), block);
  PackIq4(level, block + 2);
}

void EncodeIQ4_XS(const float* x, const float* w, std::byte* block) {
  const LevelBlock found = SearchLevelBlock(
      x, w, {.sub_size = 32, .levels = kIq4Levels, .min_scale = -32, .max_scale = 31});
  WriteF16(found.d, block);
  std::memset(block + 2, 0, 6);
  for (int j = 0; j < 8; ++j) {
    const int scale = found.scale[j] + 32;
    block[4 + j / 2] |= static_cast<std::byte>((scale & 15) << 4 * (j % 2));
    block[2 + j / 4] |= static_cast<std::byte>(scale >> 4 << 2 * (j % 4));
    PackIq4(found.level + 32 * j, block + 8 + 16 * j);
  }
}

// Weights of values that weigh alike.
constexpr auto kAlike = [] {
  std::array<float, kSuperBlock> ones{};
  ones.fill(1);
  return ones;
}();

Encode EncodeOf(DType type, bool weighted) {
  switch (type) {
    case DType::kF32:
      break;
    case DType::kF16:
      return EncodeF16;
    case DType::kBF16:
      return EncodeBF16;
    case DType::kQ4_0:
      return weighted ? SearchQ4_0 : EncodeQ4_0;
    case DType::kQ4_1:
      return weighted ? SearchQ4_1 : EncodeQ4_1;
    case DType::kQ5_0:
      return weighted ? SearchQ5_0 : EncodeQ5_0;
    case DType::kQ5_1:
      return weighted ? SearchQ5_1 : EncodeQ5_1;
    case DType::kQ8_0:
      return EncodeQ8_0;
    case DType::kQ2_K:
      return EncodeQ2_K;
    case DType::kQ3_K:
      return EncodeQ3_K;
    case DType::kQ4_K:
      return EncodeQ4_K;
    case DType::kQ5_K:
      return EncodeQ5_K;
    case DType::kQ6_K:
      return EncodeQ6_K;
    case DType::kIQ4_NL:
      return EncodeIQ4_NL;
    case DType::kIQ4_XS:
      return EncodeIQ4_XS;
  }
  CADRE_CHECK(false && "no blocks of this type");
  return nullptr;
}

}  // namespace

void EncodeRow(DType type, std::span<const float> values, std::byte* bytes,
               std::span<const float> importance) {
  const auto& info = Info(type);
  CADRE_CHECK(values.size() % static_cast<size_t>(info.block_elems) == 0);
  CADRE_CHECK(importance.empty() || importance.size() == values.size());
  if (values.empty()) return;
  if (type == DType::kF32) {
    std::memcpy(bytes, values.data(), values.size_bytes());
    return;
  }
  const Encode encode = EncodeOf(type, !importance.empty());
  const auto num_blocks = static_cast<int64_t>(values.size()) / info.block_elems;
  for (int64_t b = 0; b < num_blocks; ++b) {
    const int64_t begin = b * info.block_elems;
    encode(values.data() + begin, importance.empty() ? kAlike.data() : importance.data() + begin,
           bytes + b * info.block_bytes);
  }
}

}  // namespace cadre
