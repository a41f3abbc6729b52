#include "tensor/quant_search.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "tensor/float16.h"

namespace cadre {
namespace {

// Nearest integer of [min, max].
int NearestInt(float value, int min, int max) {
  return TruncatedInt(std::floor(value + 0.5f), min, max);
}

// Nearest of the levels; of two as near, the upper. NaN gives the lowest.
int8_t NearestLevel(float value, std::span<const int8_t> levels) {
  const int low = levels.front(), high = levels.back();
  if (high - low + 1 == std::ssize(levels))
    return static_cast<int8_t>(NearestInt(value, low, high));
  int8_t nearest = levels.front();
  for (const int8_t level : levels) {
    if (static_cast<float>(nearest + level) <= 2 * value) nearest = level;
  }
  return nearest;
}

std::span<const float> Part(const float* values, int j, int size) {
  return {values + j * size, static_cast<size_t>(size)};
}

// value ~ step * q - offset over one sub-block, both >= 0.
struct Affine {
  double step = 0, offset = 0;
};

Affine SolveAffine(std::span<const float> x, const uint8_t* q) {
  double n = static_cast<double>(x.size()), sq = 0, sqq = 0, sx = 0, sxq = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    sq += q[i];
    sqq += static_cast<double>(q[i]) * q[i];
    sx += x[i];
    sxq += static_cast<double>(x[i]) * q[i];
  }
  const double determinant = n * sqq - sq * sq;
  if (determinant > 0) {
    const Affine free = {(n * sxq - sq * sx) / determinant, (sq * sxq - sqq * sx) / determinant};
    if (free.step >= 0 && free.offset >= 0) return free;
  }
  const Affine through_zero = {sqq > 0 ? std::max(0.0, sxq / sqq) : 0.0, 0.0};
  return through_zero;
}

// Rounds x to levels of the affine and returns the squared error.
double RoundAffine(std::span<const float> x, float step, float offset, int max_q, uint8_t* q) {
  const float inverse = step > 0 ? 1 / step : 0;
  double error = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    q[i] = static_cast<uint8_t>(NearestInt((x[i] + offset) * inverse, 0, max_q));
    const double miss = static_cast<double>(step * static_cast<float>(q[i]) - offset) - x[i];
    error += miss * miss;
  }
  return error;
}

Affine SearchAffine(std::span<const float> x, int max_q) {
  const float low = std::min(0.0f, *std::min_element(x.begin(), x.end()));
  const float high = std::max(0.0f, *std::max_element(x.begin(), x.end()));
  Affine best;
  uint8_t q[kSuperBlock];
  double best_error = RoundAffine(x, 0, 0, max_q, q);
  // Clipping the range a little can pay: the first guesses spread the levels over more or less than
  // [low, high].
  const auto levels = static_cast<float>(max_q);
  for (int guess = -8; guess <= 4; ++guess) {
    float step = (high - low) / (levels + levels / 60 * static_cast<float>(guess));
    float offset = -low;
    for (int round = 0; round < 3; ++round) {
      const double error = RoundAffine(x, step, offset, max_q, q);
      if (error < best_error) {
        best_error = error;
        best = {step, offset};
      }
      const Affine solved = SolveAffine(x, q);
      step = static_cast<float>(solved.step);
      offset = static_cast<float>(solved.offset);
    }
  }
  return best;
}

// The best scale and min of sub-block j for the block scales, one step around the nearest; writes
// levels, returns the error.
double RoundSubBlock(const float* values, int j, const Affine& wanted, const AffineFormat& format,
                     AffineBlock& block) {
  const auto x = Part(values, j, format.sub_size);
  const int max = format.max_scale;
  const float inverse_d = block.d > 0 ? 1 / block.d : 0;
  const float inverse_dmin = block.dmin > 0 ? 1 / block.dmin : 0;
  const int scale0 = NearestInt(static_cast<float>(wanted.step) * inverse_d, 0, max);
  const int min0 = NearestInt(static_cast<float>(wanted.offset) * inverse_dmin, 0, max);
  double best_error = std::numeric_limits<double>::infinity();
  uint8_t q[kSuperBlock];
  uint8_t* best_q = block.q + j * format.sub_size;
  std::fill_n(best_q, format.sub_size, uint8_t{0});
  block.scale[j] = block.min[j] = 0;
  for (int scale = std::max(0, scale0 - 1); scale <= std::min(max, scale0 + 1); ++scale) {
    for (int min = std::max(0, min0 - 1); min <= std::min(max, min0 + 1); ++min) {
      const float step = block.d * static_cast<float>(scale);
      const float offset = block.dmin * static_cast<float>(min);
      const double error = RoundAffine(x, step, offset, format.max_q, q);
      if (!(error < best_error)) continue;
      best_error = error;
      block.scale[j] = scale;
      block.min[j] = min;
      std::copy_n(q, format.sub_size, best_q);
    }
  }
  return best_error;
}

// Least squares for (d, dmin) with everything else as it stands.
void Refit(const float* values, const AffineFormat& format, AffineBlock& block) {
  double aa = 0, ab = 0, bb = 0, xa = 0, xb = 0;  // columns a = scale * q, b = -min
  for (int i = 0; i < kSuperBlock; ++i) {
    const int j = i / format.sub_size;
    const double a = block.scale[j] * block.q[i];
    const double b = -block.min[j];
    aa += a * a, ab += a * b, bb += b * b;
    xa += values[i] * a, xb += values[i] * b;
  }
  const double determinant = aa * bb - ab * ab;
  if (determinant > 1e-9 * aa * bb) {
    block.d = NearestF16(std::max(0.0, (bb * xa - ab * xb) / determinant));
    block.dmin = NearestF16(std::max(0.0, (aa * xb - ab * xa) / determinant));
  } else if (aa > 0) {
    block.d = NearestF16(std::max(0.0, xa / aa));
  }
}

// Least-squares step for the levels nearest to x * inverse, and what they take off the squared
// error, up to sum x^2.
struct Scaled {
  double step = 0, gain = 0;
};

Scaled SolveLevels(std::span<const float> x, std::span<const int8_t> levels, double inverse) {
  double qq = 0, xq = 0;
  for (const float value : x) {
    const double q = NearestLevel(static_cast<float>(value * inverse), levels);
    qq += q * q;
    xq += value * q;
  }
  if (!(qq > 0)) return {};
  return {xq / qq, xq * xq / qq};
}

double SearchStep(std::span<const float> x, std::span<const int8_t> levels) {
  float extreme = 0;
  for (const float value : x) {
    if (std::abs(value) > std::abs(extreme)) extreme = value;
  }
  if (extreme == 0) return 0;
  Scaled best;
  // The extreme may map to any place near either end, or a little beyond.
  const double low = levels.front(), low_gap = levels[1] - low;
  const double high = levels.back(), high_gap = high - levels[levels.size() - 2];
  for (int guess = -12; guess <= 12; ++guess) {
    for (const double end : {low + 0.1 * guess * low_gap, high + 0.1 * guess * high_gap}) {
      const Scaled solved = SolveLevels(x, levels, end / extreme);
      if (solved.gain > best.gain) best = solved;
    }
  }
  return best.step;
}

double RoundLevels(std::span<const float> x, float step, std::span<const int8_t> levels,
                   int8_t* level) {
  const float inverse = step != 0 ? 1 / step : 0;
  double error = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    level[i] = NearestLevel(inverse == 0 ? 0.0f : x[i] * inverse, levels);
    const double miss = static_cast<double>(step * static_cast<float>(level[i])) - x[i];
    error += miss * miss;
  }
  return error;
}

double RoundSubBlock(const float* values, int j, double wanted, const LevelFormat& format,
                     LevelBlock& block) {
  const auto x = Part(values, j, format.sub_size);
  const int min = format.min_scale, max = format.max_scale;
  const int scale0 = block.d != 0 ? NearestInt(static_cast<float>(wanted) / block.d, min, max) : 0;
  double best_error = std::numeric_limits<double>::infinity();
  int8_t level[kSuperBlock];
  int8_t* best_level = block.level + j * format.sub_size;
  std::fill_n(best_level, format.sub_size, NearestLevel(0, format.levels));
  block.scale[j] = 0;
  for (int scale = std::max(min, scale0 - 1); scale <= std::min(max, scale0 + 1); ++scale) {
    const double error = RoundLevels(x, block.d * static_cast<float>(scale), format.levels, level);
    if (!(error < best_error)) continue;
    best_error = error;
    block.scale[j] = scale;
    std::copy_n(level, format.sub_size, best_level);
  }
  return best_error;
}

void Refit(const float* values, const LevelFormat& format, LevelBlock& block) {
  double aa = 0, xa = 0;
  for (int i = 0; i < kSuperBlock; ++i) {
    const double a = block.scale[i / format.sub_size] * block.level[i];
    aa += a * a;
    xa += values[i] * a;
  }
  if (aa > 0) block.d = NearestF16(xa / aa);
}

// Rounds all sub-blocks, then refits the block scales while that helps.
template <typename Block, typename Format, typename Wanted>
Block Descend(const float* values, Block block, const Format& format, const Wanted& wanted) {
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

}  // namespace

float NearestF16(double value) {
  return ToFloat(ToF16(std::clamp(static_cast<float>(value), -65504.0f, 65504.0f)));
}

AffineBlock SearchAffineBlock(const float* values, const AffineFormat& format) {
  std::array<Affine, kMaxSubBlocks> wanted;
  double max_step = 0, max_offset = 0;
  for (int j = 0; j < kSuperBlock / format.sub_size; ++j) {
    Affine& affine = wanted[static_cast<size_t>(j)];
    affine = SearchAffine(Part(values, j, format.sub_size), format.max_q);
    max_step = std::max(max_step, affine.step);
    max_offset = std::max(max_offset, affine.offset);
  }
  AffineBlock block = {};
  block.d = NearestF16(max_step / format.max_scale);
  block.dmin = NearestF16(max_offset / format.max_scale);
  return Descend(values, block, format, wanted);
}

LevelBlock SearchLevelBlock(const float* values, const LevelFormat& format) {
  std::array<double, kMaxSubBlocks> wanted;
  double extreme = 0;
  for (int j = 0; j < kSuperBlock / format.sub_size; ++j) {
    double& step = wanted[static_cast<size_t>(j)];
    step = SearchStep(Part(values, j, format.sub_size), format.levels);
    if (std::abs(step) > std::abs(extreme)) extreme = step;
  }
  LevelBlock block = {};
  block.d = NearestF16(extreme / format.min_scale);
  return Descend(values, block, format, wanted);
}

float SearchLevels(std::span<const float> values, std::span<const int8_t> levels, int8_t* level) {
  const float d = NearestF16(SearchStep(values, levels));
  RoundLevels(values, d, levels, level);
  return d;
}

}  // namespace cadre
