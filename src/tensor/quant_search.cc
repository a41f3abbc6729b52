#include "tensor/quant_search.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <span>

#include "tensor/float16.h"

namespace cadre {
namespace {

// Nearest level of [min, max].
int Level(float value, int min, int max) {
  return TruncatedInt(std::floor(value + 0.5f), min, max);
}

float NearestF16(double value) {
  return ToFloat(ToF16(std::clamp(static_cast<float>(value), -65504.0f, 65504.0f)));
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
double RoundAffine(std::span<const float> x, float step, float offset, uint8_t* q) {
  const float inverse = step > 0 ? 1 / step : 0;
  double error = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    q[i] = static_cast<uint8_t>(Level((x[i] + offset) * inverse, 0, 15));
    const double miss = static_cast<double>(step * static_cast<float>(q[i]) - offset) - x[i];
    error += miss * miss;
  }
  return error;
}

Affine SearchAffine(std::span<const float> x) {
  const float low = std::min(0.0f, *std::min_element(x.begin(), x.end()));
  const float high = std::max(0.0f, *std::max_element(x.begin(), x.end()));
  Affine best;
  uint8_t q[32];
  double best_error = RoundAffine(x, 0, 0, q);
  // Clipping the range a little can pay: the first guesses spread 15 levels over more or less than
  // [low, high].
  for (int guess = 0; guess <= 12; ++guess) {
    float step = (high - low) / (13.0f + 0.25f * static_cast<float>(guess));
    float offset = -low;
    for (int round = 0; round < 3; ++round) {
      const double error = RoundAffine(x, step, offset, q);
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

std::span<const float> Part(const float* values, int j, int size) {
  return {values + j * size, static_cast<size_t>(size)};
}

// The best scale and min of sub-block j for the block scales, one step around the nearest; writes
// levels, returns the error.
double RoundSubBlock(const float* values, int j, const Affine& wanted, AffineBlock& block) {
  const auto x = Part(values, j, 32);
  const float inverse_d = block.d > 0 ? 1 / block.d : 0;
  const float inverse_dmin = block.dmin > 0 ? 1 / block.dmin : 0;
  const int scale0 = Level(static_cast<float>(wanted.step) * inverse_d, 0, 63);
  const int min0 = Level(static_cast<float>(wanted.offset) * inverse_dmin, 0, 63);
  double best_error = std::numeric_limits<double>::infinity();
  uint8_t q[32];
  std::fill_n(block.q + 32 * j, 32, uint8_t{0});
  block.scale[j] = block.min[j] = 0;
  for (int scale = std::max(0, scale0 - 1); scale <= std::min(63, scale0 + 1); ++scale) {
    for (int min = std::max(0, min0 - 1); min <= std::min(63, min0 + 1); ++min) {
      const float step = block.d * static_cast<float>(scale);
      const float offset = block.dmin * static_cast<float>(min);
      const double error = RoundAffine(x, step, offset, q);
      if (!(error < best_error)) continue;
      best_error = error;
      block.scale[j] = scale;
      block.min[j] = min;
      std::copy_n(q, 32, block.q + 32 * j);
    }
  }
  return best_error;
}

// Least squares for (d, dmin) with everything else as it stands.
void RefitAffine(const float* values, AffineBlock& block) {
  double aa = 0, ab = 0, bb = 0, xa = 0, xb = 0;  // columns a = scale * q, b = -min
  for (size_t i = 0; i < 256; ++i) {
    const double a = block.scale[i / 32] * block.q[i];
    const double b = -block.min[i / 32];
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

// Least-squares step for the given levels of one sub-block of 16, and what is left of the squared
// error, up to sum x^2.
struct Symmetric {
  double step = 0, gain = 0;
};

Symmetric SolveSymmetric(std::span<const float> x, double inverse) {
  double qq = 0, xq = 0;
  for (const float value : x) {
    const double q = Level(static_cast<float>(value * inverse), -32, 31);
    qq += q * q;
    xq += value * q;
  }
  if (!(qq > 0)) return {};
  return {xq / qq, xq * xq / qq};
}

double SearchSymmetric(std::span<const float> x) {
  float extreme = 0;
  for (const float value : x) {
    if (std::abs(value) > std::abs(extreme)) extreme = value;
  }
  if (extreme == 0) return 0;
  Symmetric best;
  // The extreme may map to any level near either end: -32 has one level more than 31.
  for (int guess = -12; guess <= 12; ++guess) {
    for (const double end : {-32.0, 31.0}) {
      const Symmetric solved = SolveSymmetric(x, (end + 0.1 * guess) / extreme);
      if (solved.gain > best.gain) best = solved;
    }
  }
  return best.step;
}

double RoundSymmetric(std::span<const float> x, float step, int8_t* q) {
  const float inverse = step != 0 ? 1 / step : 0;
  double error = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    q[i] = static_cast<int8_t>(inverse == 0 ? 0 : Level(x[i] * inverse, -32, 31));
    const double miss = static_cast<double>(step * static_cast<float>(q[i])) - x[i];
    error += miss * miss;
  }
  return error;
}

double RoundSubBlock(const float* values, int j, double wanted, SymmetricBlock& block) {
  const auto x = Part(values, j, 16);
  const int scale0 = block.d != 0 ? Level(static_cast<float>(wanted) / block.d, -128, 127) : 0;
  double best_error = std::numeric_limits<double>::infinity();
  int8_t q[16];
  std::fill_n(block.q + 16 * j, 16, int8_t{0});
  block.scale[j] = 0;
  for (int scale = std::max(-128, scale0 - 1); scale <= std::min(127, scale0 + 1); ++scale) {
    const double error = RoundSymmetric(x, block.d * static_cast<float>(scale), q);
    if (!(error < best_error)) continue;
    best_error = error;
    block.scale[j] = scale;
    std::copy_n(q, 16, block.q + 16 * j);
  }
  return best_error;
}

void RefitSymmetric(const float* values, SymmetricBlock& block) {
  double aa = 0, xa = 0;
  for (size_t i = 0; i < 256; ++i) {
    const double a = block.scale[i / 16] * block.q[i];
    aa += a * a;
    xa += values[i] * a;
  }
  if (aa > 0) block.d = NearestF16(xa / aa);
}

// Rounds all sub-blocks, then refits the block scales while that helps.
template <typename Block, typename Wanted, typename Refit>
Block Descend(const float* values, Block block, const Wanted& wanted, Refit refit) {
  const auto round = [&](Block& b) {
    double error = 0;
    for (size_t j = 0; j < wanted.size(); ++j)
      error += RoundSubBlock(values, static_cast<int>(j), wanted[j], b);
    return error;
  };
  double error = round(block);
  for (int i = 0; i < 3; ++i) {
    Block next = block;
    refit(values, next);
    const double next_error = round(next);
    if (!(next_error < error)) break;
    error = next_error;
    block = next;
  }
  return block;
}

}  // namespace

AffineBlock SearchAffineBlock(const float* values) {
  std::array<Affine, 8> wanted;
  double max_step = 0, max_offset = 0;
  for (size_t j = 0; j < 8; ++j) {
    wanted[j] = SearchAffine(Part(values, static_cast<int>(j), 32));
    max_step = std::max(max_step, wanted[j].step);
    max_offset = std::max(max_offset, wanted[j].offset);
  }
  AffineBlock block = {};
  block.d = NearestF16(max_step / 63);
  block.dmin = NearestF16(max_offset / 63);
  return Descend(values, block, wanted, RefitAffine);
}

SymmetricBlock SearchSymmetricBlock(const float* values) {
  std::array<double, 16> wanted;
  double extreme = 0;
  for (size_t j = 0; j < 16; ++j) {
    wanted[j] = SearchSymmetric(Part(values, static_cast<int>(j), 16));
    if (std::abs(wanted[j]) > std::abs(extreme)) extreme = wanted[j];
  }
  SymmetricBlock block = {};
  block.d = NearestF16(extreme / -128);
  return Descend(values, block, wanted, RefitSymmetric);
}

}  // namespace cadre
