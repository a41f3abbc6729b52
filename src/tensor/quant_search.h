// The search for the scales of a block: levels, sub-block scales and block scales that leave a
// small squared error, each value's weighing as much as its `weights` entry says (>= 0, as many as
// values). Coordinate descent: levels are rounded, scales solved by least squares or
// tried one step up and down, in turn. Knows nothing of how a block is packed. Values that are not
// finite give some block, never a crash.
#pragma once

#include <cstdint>
#include <span>

namespace cadre {

inline constexpr int kSuperBlock = 256;   // values of a block with sub-blocks
inline constexpr int kMaxSubBlocks = 16;  // of it

// value[i] ~ d * scale[j] * q[i] - dmin * min[j], j = i / sub_size: q in [0, max_q], scale and min
// in [0, max_scale].
struct AffineFormat {
  int sub_size;
  int max_q;
  int max_scale;
};
struct AffineBlock {
  uint8_t q[kSuperBlock];
  int scale[kMaxSubBlocks];
  int min[kMaxSubBlocks];
  float d, dmin;  // >= 0, exact in F16
};
AffineBlock SearchAffineBlock(const float* values, const float* weights,
                              const AffineFormat& format);

// value[i] ~ d * scale[j] * level[i], j = i / sub_size: level one of `levels`, scale in
// [min_scale, max_scale], |min_scale| the larger.
struct LevelFormat {
  int sub_size;
  // Ascending, of both signs: whole numbers without a gap, or kIq4Levels itself.
  std::span<const int8_t> levels;
  int min_scale, max_scale;
};
struct LevelBlock {
  int8_t level[kSuperBlock];
  int scale[kMaxSubBlocks];
  float d;  // exact in F16
};
LevelBlock SearchLevelBlock(const float* values, const float* weights, const LevelFormat& format);

// value[i] ~ d * level[i] over the whole of `values`. Returns d, exact in F16.
float SearchLevels(std::span<const float> values, const float* weights,
                   std::span<const int8_t> levels, int8_t* level);

// value[i] ~ d * q[i] + m over the whole of `values`, q in [0, max_q], m of either sign; both exact
// in F16.
struct Line {
  float d, m;
};
Line SearchLine(std::span<const float> values, const float* weights, int max_q, uint8_t* q);

// `value` cut towards zero, within [min, max]; NaN gives min.
inline int TruncatedInt(float value, int min, int max) {
  if (!(value > static_cast<float>(min))) return min;
  return value < static_cast<float>(max) ? static_cast<int>(value) : max;
}

// The nearest F16, the largest finite one for what is beyond it.
float NearestF16(double value);

}  // namespace cadre
