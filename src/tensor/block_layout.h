// What decoding and encoding of the block types share. Layouts: ggml's block_q4_0 to block_iq4_xs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "tensor/float16.h"

namespace cadre {

// The 16 levels of IQ4_NL and IQ4_XS.
inline constexpr int8_t kIq4Levels[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                          1,    13,   25,  38,  53,  69,  89,  113};

inline int Byte(std::byte b) { return static_cast<int>(b); }

inline float ReadF16(const std::byte* bytes) {
  F16 half;
  std::memcpy(&half, bytes, sizeof half);
  return ToFloat(half);
}

inline void WriteF16(float value, std::byte* bytes) {
  const F16 half = ToF16(value);
  std::memcpy(bytes, &half, sizeof half);
}

// Where value i of 256 lies in the two-bit fields of Q2_K and Q3_K and in the nibbles and two-bit
// fields of Q6_K: halves of 128, in them four groups of 32.
struct PlaceIn256 {
  explicit constexpr PlaceIn256(int i) : half(i / 128), group(i % 128 / 32), lane(i % 32) {}
  int half, group, lane;
};

}  // namespace cadre
