#include "plan/matmul_times.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include "base/error.h"

namespace cadre {
namespace {

// The line through two samples, which may not fall: more tokens never take less.
double OnLine(int64_t tokens, int64_t t0, double s0, int64_t t1, double s1) {
  const double slope = std::max(0.0, (s1 - s0) / static_cast<double>(t1 - t0));
  return s0 + slope * static_cast<double>(tokens - t0);
}

double AtTokens(const std::map<int64_t, double>& samples, int64_t tokens) {
  const auto above = samples.lower_bound(tokens);
  if (above != samples.end() && (above->first == tokens || above == samples.begin()))
    return above->second;
  if (samples.size() == 1)
    return samples.begin()->second * static_cast<double>(tokens) /
           static_cast<double>(samples.begin()->first);
  const auto second = above == samples.end() ? std::prev(above) : above;
  const auto first = std::prev(second);
  return OnLine(tokens, first->first, first->second, second->first, second->second);
}

}  // namespace

void MatMulTimes::Add(const MatMulSample& sample) {
  CADRE_CHECK(sample.rows > 0 && sample.cols > 0 && sample.tokens > 0);
  shapes_[sample.type][{sample.rows, sample.cols}][sample.tokens] = sample.seconds;
}

double MatMulTimes::Seconds(DType type, int64_t rows, int64_t cols, int64_t tokens) const {
  CADRE_CHECK(Knows(type) && tokens > 0);
  const auto& shapes = shapes_.at(type);
  const MatrixShape wanted{rows, cols};
  const auto distance = [&](const MatrixShape& shape) {
    return std::abs(std::log(shape.weights() / wanted.weights())) +
           (shape.cols == wanted.cols ? 0.0 : 0.1);
  };
  auto nearest = shapes.find(wanted);
  if (nearest == shapes.end()) {
    nearest = std::min_element(shapes.begin(), shapes.end(), [&](const auto& a, const auto& b) {
      return distance(a.first) < distance(b.first);
    });
  }
  return AtTokens(nearest->second, tokens) * wanted.weights() / nearest->first.weights();
}

}  // namespace cadre
