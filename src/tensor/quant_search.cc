#include "tensor/quant_search.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "tensor/block_layout.h"
#include "tensor/float16.h"

namespace cadre {
namespace {

// Sub-blocks are worked through in lanes: each lane sums its own values, in float, so that
// compilers may use vectors and every one of them gets the same sums.
constexpr int kLanes = 8;
using Lanes = float[kLanes];

double SumOf(const Lanes& lanes) {
  double sum = 0;
  for (const float lane : lanes) sum += lane;
  return sum;
}

// Nearest integer of [min, max], of two as near the even one; both within 2^22. NaN gives min.
inline float NearestInt(float value, float min, float max) {
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: what is added to it loses its fraction
  const float above = value > min ? value : min;
  const float within = above < max ? above : max;
  return (within + kRound) - kRound;
}

// Values and their weights: a sub-block, or all. Sizes are multiples of kLanes.
struct Values {
  const float* x;
  const float* w;
  int size;
  Values Part(int j, int part_size) const {
    return {x + j * part_size, w + j * part_size, part_size};
  }
};

// value ~ step * q - offset, step >= 0.
struct Affine {
  double step = 0, offset = 0;
};

// What the offset may be.
enum class Offset { kNotNegative, kAny };

Affine SolveAffine(const Values& v, const float* q, Offset may_be) {
  Lanes w_lanes = {}, q_lanes = {}, qq_lanes = {}, x_lanes = {}, xq_lanes = {};
  for (int i = 0; i < v.size; i += kLanes) {
    for (int l = 0; l < kLanes; ++l) {
      const float w = v.w[i + l], x = v.x[i + l], wq = w * q[i + l];
      w_lanes[l] += w;
      q_lanes[l] += wq;
      qq_lanes[l] += wq * q[i + l];
      x_lanes[l] += w * x;
      xq_lanes[l] += wq * x;
    }
  }
  const double sw = SumOf(w_lanes), sq = SumOf(q_lanes), sqq = SumOf(qq_lanes);
  const double sx = SumOf(x_lanes), sxq = SumOf(xq_lanes);
  const double determinant = sw * sqq - sq * sq;
  if (determinant > 1e-6 * sw * sqq) {
    const Affine free = {(sw * sxq - sq * sx) / determinant, (sq * sxq - sqq * sx) / determinant};
    if (free.step >= 0 && (may_be == Offset::kAny || free.offset >= 0)) return free;
  }
  const Affine through_zero = {sqq > 0 ? std::max(0.0, sxq / sqq) : 0.0, 0.0};
  return through_zero;
}

// Rounds to levels of the affine and returns the squared error.
double RoundAffine(const Values& v, float step, float offset, int max_q, float* q) {
  const float inverse = step > 0 ? 1 / step : 0;
  const auto max = static_cast<float>(max_q);
  Lanes error = {};
  for (int i = 0; i < v.size; i += kLanes) {
    for (int l = 0; l < kLanes; ++l) {
      const float level = NearestInt((v.x[i + l] + offset) * inverse, 0, max);
      const float miss = (step * level - offset) - v.x[i + l];
      q[i + l] = level;
      error[l] += v.w[i + l] * (miss * miss);
    }
  }
  return SumOf(error);
}

Affine SearchAffine(const Values& v, int max_q, Offset may_be) {
  float low = *std::min_element(v.x, v.x + v.size);
  float high = *std::max_element(v.x, v.x + v.size);
  if (may_be == Offset::kNotNegative) {
    low = std::min(0.0f, low);
    high = std::max(0.0f, high);
  }
  Affine best = {0, may_be == Offset::kAny ? -low : 0};
  float q[kSuperBlock];
  double best_error = RoundAffine(v, 0, static_cast<float>(best.offset), max_q, q);
  // Clipping the range a little can pay: the first guesses spread the levels over more or less than
  // [low, high].
  const auto levels = static_cast<float>(max_q);
  for (int guess = -8; guess <= 4; ++guess) {
    float step = (high - low) / (levels + levels / 60 * static_cast<float>(guess));
    float offset = -low;
    for (int round = 0; round < 3; ++round) {
      const double error = RoundAffine(v, step, offset, max_q, q);
      if (error < best_error) {
        best_error = error;
        best = {step, offset};
      }
      const Affine solved = SolveAffine(v, q, may_be);
      step = static_cast<float>(solved.step);
      offset = static_cast<float>(solved.offset);
    }
  }
  return best;
}

// Scales and minima are whole numbers too.
int NearestScale(double wanted, float of_block, int min, int max) {
  if (of_block == 0) return std::clamp(0, min, max);
  return static_cast<int>(NearestInt(static_cast<float>(wanted) / of_block, static_cast<float>(min),
                                     static_cast<float>(max)));
}

// The best scale and min of sub-block j for the block scales, one step around the nearest; writes
// levels, returns the error.
double RoundSubBlock(const Values& values, int j, const Affine& wanted, const AffineFormat& format,
                     AffineBlock& block) {
  const Values v = values.Part(j, format.sub_size);
  const int max = format.max_scale;
  const int scale0 = NearestScale(wanted.step, block.d, 0, max);
  const int min0 = NearestScale(wanted.offset, block.dmin, 0, max);
  double best_error = std::numeric_limits<double>::infinity();
  float q[kSuperBlock];
  uint8_t* best_q = block.q + j * format.sub_size;
  std::fill_n(best_q, format.sub_size, uint8_t{0});
  block.scale[j] = block.min[j] = 0;
  for (int scale = std::max(0, scale0 - 1); scale <= std::min(max, scale0 + 1); ++scale) {
    for (int min = std::max(0, min0 - 1); min <= std::min(max, min0 + 1); ++min) {
      const float step = block.d * static_cast<float>(scale);
      const float offset = block.dmin * static_cast<float>(min);
      const double error = RoundAffine(v, step, offset, format.max_q, q);
      if (!(error < best_error)) continue;
      best_error = error;
      block.scale[j] = scale;
      block.min[j] = min;
      for (int i = 0; i < format.sub_size; ++i) best_q[i] = static_cast<uint8_t>(q[i]);
    }
  }
  return best_error;
}

// Least squares for (d, dmin) with everything else as it stands.
void Refit(const Values& values, const AffineFormat& format, AffineBlock& block) {
  double aa = 0, ab = 0, bb = 0, xa = 0, xb = 0;  // columns a = scale * q, b = -min
  for (int i = 0; i < kSuperBlock; ++i) {
    const int j = i / format.sub_size;
    const double a = block.scale[j] * block.q[i];
    const double b = -block.min[j];
    const double wa = values.w[i] * a, wb = values.w[i] * b;
    aa += wa * a, ab += wa * b, bb += wb * b;
    xa += values.x[i] * wa, xb += values.x[i] * wb;
  }
  const double determinant = aa * bb - ab * ab;
  if (determinant > 1e-9 * aa * bb) {
    block.d = NearestF16(std::max(0.0, (bb * xa - ab * xb) / determinant));
    block.dmin = NearestF16(std::max(0.0, (aa * xb - ab * xa) / determinant));
  } else if (aa > 0) {
    block.d = NearestF16(std::max(0.0, xa / aa));
  }
}

// Levels without a gap.
class AllLevels {
 public:
  explicit AllLevels(std::span<const int8_t> levels) : low_(levels.front()), high_(levels.back()) {}
  float Nearest(float value) const { return NearestInt(value, low_, high_); }

 private:
  float low_, high_;
};

// Any levels, by a table of half steps: between neighbours of any two the middle is a multiple of
// a half.
class ListedLevels {
 public:
  explicit ListedLevels(std::span<const int8_t> levels) {
    size_t nearest = 0;
    for (int i = 0; i < kSteps; ++i) {
      const double value = (i + 0.5) / 2 + kLow;
      while (nearest + 1 < levels.size() && levels[nearest] + levels[nearest + 1] <= 2 * value)
        ++nearest;
      table_[i] = levels[nearest];
    }
  }
  float Nearest(float value) const {
    const float above = value > kLow ? value : kLow;
    const float within = above < -kLow - 0.5f ? above : -kLow - 0.5f;
    return table_[static_cast<int>((within - kLow) * 2)];
  }

 private:
  static constexpr float kLow = -128;
  static constexpr int kSteps = 512;
  float table_[kSteps];
};

// Least-squares step for the levels nearest to x * inverse, and what they take off the squared
// error, up to sum w x^2.
struct Scaled {
  double step = 0, gain = 0;
};

template <typename Levels>
Scaled SolveLevels(const Values& v, const Levels& levels, double end_over_extreme) {
  const auto inverse = static_cast<float>(end_over_extreme);
  Lanes qq_lanes = {}, xq_lanes = {};
  for (int i = 0; i < v.size; i += kLanes) {
    for (int l = 0; l < kLanes; ++l) {
      const float q = levels.Nearest(v.x[i + l] * inverse);
      const float wq = v.w[i + l] * q;
      qq_lanes[l] += wq * q;
      xq_lanes[l] += v.x[i + l] * wq;
    }
  }
  const double qq = SumOf(qq_lanes), xq = SumOf(xq_lanes);
  if (!(qq > 0)) return {};
  return {xq / qq, xq * xq / qq};
}

template <typename Levels>
double SearchStep(const Values& v, std::span<const int8_t> list, const Levels& levels) {
  float extreme = 0;
  for (int i = 0; i < v.size; ++i) {
    if (std::abs(v.x[i]) > std::abs(extreme)) extreme = v.x[i];
  }
  if (extreme == 0) return 0;
  Scaled best;
  // The extreme may map to any place near either end, or a little beyond.
  const double low = list.front(), low_gap = list[1] - low;
  const double high = list.back(), high_gap = high - list[list.size() - 2];
  for (int guess = -12; guess <= 12; ++guess) {
    for (const double end : {low + 0.1 * guess * low_gap, high + 0.1 * guess * high_gap}) {
      const Scaled solved = SolveLevels(v, levels, end / extreme);
      if (solved.gain > best.gain) best = solved;
    }
  }
  return best.step;
}

template <typename Levels>
double RoundLevels(const Values& v, float step, const Levels& levels, float* level) {
  const float inverse = step != 0 ? 1 / step : 0;
  Lanes error = {};
  for (int i = 0; i < v.size; i += kLanes) {
    for (int l = 0; l < kLanes; ++l) {
      level[i + l] = levels.Nearest(v.x[i + l] * inverse);
      const float miss = step * level[i + l] - v.x[i + l];
      error[l] += v.w[i + l] * (miss * miss);
    }
  }
  return SumOf(error);
}

// A format and its levels.
template <typename Levels>
struct LevelSearch {
  const LevelFormat& format;
  const Levels& levels;
  int sub_size = format.sub_size;
};

template <typename Levels>
double RoundSubBlock(const Values& values, int j, double wanted, const LevelSearch<Levels>& search,
                     LevelBlock& block) {
  const LevelFormat& format = search.format;
  const Values v = values.Part(j, format.sub_size);
  const int min = format.min_scale, max = format.max_scale;
  const int scale0 = NearestScale(wanted, block.d, min, max);
  double best_error = std::numeric_limits<double>::infinity();
  float level[kSuperBlock];
  int8_t* best_level = block.level + j * format.sub_size;
  std::fill_n(best_level, format.sub_size, static_cast<int8_t>(search.levels.Nearest(0)));
  block.scale[j] = 0;
  for (int scale = std::max(min, scale0 - 1); scale <= std::min(max, scale0 + 1); ++scale) {
    const double error = RoundLevels(v, block.d * static_cast<float>(scale), search.levels, level);
    if (!(error < best_error)) continue;
    best_error = error;
    block.scale[j] = scale;
    for (int i = 0; i < format.sub_size; ++i) best_level[i] = static_cast<int8_t>(level[i]);
  }
  return best_error;
}

template <typename Levels>
void Refit(const Values& values, const LevelSearch<Levels>& search, LevelBlock& block) {
  double aa = 0, xa = 0;
  for (int i = 0; i < kSuperBlock; ++i) {
    const double a = block.scale[i / search.sub_size] * block.level[i];
    const double wa = values.w[i] * a;
    aa += wa * a;
    xa += values.x[i] * wa;
  }
  if (aa > 0) block.d = NearestF16(xa / aa);
}

// Rounds all sub-blocks, then refits the block scales while that helps.
template <typename Block, typename Format, typename Wanted>
Block Descend(const Values& values, Block block, const Format& format, const Wanted& wanted) {
  const auto round = [&](Block& b) {
    double error = 0;
    for (int j = 0; j < kSuperBlock / format.sub_size; ++j)
      error += RoundSubBlock(values, j, wanted[static_cast<size_t>(j)], format, b);
    return error;
  };
  double error = round(block);
  for (int i = 0; i < 3; ++i) {
    Block next = block;
    Refit(values, format, next);
    const double next_error = round(next);
    if (!(next_error < error)) break;
    error = next_error;
    block = next;
  }
  return block;
}

template <typename Levels>
LevelBlock SearchLevelBlock(const Values& all, const LevelFormat& format, const Levels& levels) {
  std::array<double, kMaxSubBlocks> wanted;
  double extreme = 0;
  for (int j = 0; j < kSuperBlock / format.sub_size; ++j) {
    double& step = wanted[static_cast<size_t>(j)];
    step = SearchStep(all.Part(j, format.sub_size), format.levels, levels);
    if (std::abs(step) > std::abs(extreme)) extreme = step;
  }
  LevelBlock block = {};
  block.d = NearestF16(extreme / format.min_scale);
  return Descend(all, block, LevelSearch<Levels>{format, levels}, wanted);
}

template <typename Levels>
float SearchLevels(const Values& all, std::span<const int8_t> list, const Levels& levels,
                   int8_t* level) {
  const float d = NearestF16(SearchStep(all, list, levels));
  float found[kSuperBlock];
  RoundLevels(all, d, levels, found);
  for (int i = 0; i < all.size; ++i) level[i] = static_cast<int8_t>(found[i]);
  return d;
}

// Calls `search` with the kind of levels that `list` is. The lists are the types' own, few and
// known: the tables of those with gaps are made once.
template <typename Search>
auto WithLevels(std::span<const int8_t> list, const Search& search) {
  if (list.back() - list.front() + 1 == std::ssize(list)) return search(AllLevels(list));
  static const ListedLevels kIq4(kIq4Levels);
  CADRE_CHECK(list.data() == kIq4Levels);
  return search(kIq4);
}

}  // namespace

float NearestF16(double value) {
  return ToFloat(ToF16(std::clamp(static_cast<float>(value), -65504.0f, 65504.0f)));
}

AffineBlock SearchAffineBlock(const float* values, const float* weights,
                              const AffineFormat& format) {
  const Values all = {values, weights, kSuperBlock};
  std::array<Affine, kMaxSubBlocks> wanted;
  double max_step = 0, max_offset = 0;
  for (int j = 0; j < kSuperBlock / format.sub_size; ++j) {
    Affine& affine = wanted[static_cast<size_t>(j)];
    affine = SearchAffine(all.Part(j, format.sub_size), format.max_q, Offset::kNotNegative);
    max_step = std::max(max_step, affine.step);
    max_offset = std::max(max_offset, affine.offset);
  }
  AffineBlock block = {};
  block.d = NearestF16(max_step / format.max_scale);
  block.dmin = NearestF16(max_offset / format.max_scale);
  return Descend(all, block, format, wanted);
}

LevelBlock SearchLevelBlock(const float* values, const float* weights, const LevelFormat& format) {
  return WithLevels(format.levels, [&](const auto& levels) {
    return SearchLevelBlock(Values{values, weights, kSuperBlock}, format, levels);
  });
}

float SearchLevels(std::span<const float> values, const float* weights,
                   std::span<const int8_t> list, int8_t* level) {
  return WithLevels(list, [&](const auto& levels) {
    return SearchLevels(Values{values.data(), weights, static_cast<int>(values.size())}, list,
                        levels, level);
  });
}

Line SearchLine(std::span<const float> values, const float* weights, int max_q, uint8_t* q) {
  const Values all = {values.data(), weights, static_cast<int>(values.size())};
  const Affine found = SearchAffine(all, max_q, Offset::kAny);
  const Line line = {NearestF16(found.step), NearestF16(-found.offset)};
  float levels[kSuperBlock];
  RoundAffine(all, line.d, -line.m, max_q, levels);
  for (int i = 0; i < all.size; ++i) q[i] = static_cast<uint8_t>(levels[i]);
  return line;
}

}  // namespace cadre
