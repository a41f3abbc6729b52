// The search for the scales of a 256-value block: levels, sub-block scales and block scales that
// leave a small squared error. Coordinate descent: levels are rounded, scales solved by least
// squares or tried one step up and down, in turn. Knows nothing of how a block is packed. Values
// that are not finite give some block, never a crash.
#pragma once

#include <cstdint>

namespace cadre {

// value[i] ~ d * scale[i / 32] * q[i] - dmin * min[i / 32]. q in [0, 15], scale and min in [0, 63];
// d, dmin >= 0, exact in F16.
struct AffineBlock {
  uint8_t q[256];
  int scale[8];
  int min[8];
  float d, dmin;
};
AffineBlock SearchAffineBlock(const float* values);

// value[i] ~ d * scale[i / 16] * q[i]. q in [-32, 31], scale in [-128, 127]; d exact in F16.
struct SymmetricBlock {
  int8_t q[256];
  int scale[16];
  float d;
};
SymmetricBlock SearchSymmetricBlock(const float* values);

// `value` cut towards zero, within [min, max]; NaN gives min.
inline int TruncatedInt(float value, int min, int max) {
  if (!(value > static_cast<float>(min))) return min;
  return value < static_cast<float>(max) ? static_cast<int>(value) : max;
}

}  // namespace cadre
