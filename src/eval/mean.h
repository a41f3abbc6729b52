// Mean and standard error of numbers that come one by one (Welford 1962).
#pragma once

#include <cmath>
#include <cstdint>

namespace cadre {

struct MeanAndError {
  double mean = 0;
  double error = 0;  // standard error of the mean
};

class RunningMean {
 public:
  void Add(double value) {
    ++count_;
    const double delta = value - mean_;
    mean_ += delta / static_cast<double>(count_);
    squares_ += delta * (value - mean_);
  }
  int64_t count() const { return count_; }
  // The error is that of a sample, sqrt(sum of squares / (n - 1) / n): for answers that are right
  // or wrong sqrt(p (1 - p) / (n - 1)). 0 for fewer than two numbers.
  MeanAndError result() const {
    if (count_ < 2) return {mean_, 0};
    const auto n = static_cast<double>(count_);
    return {mean_, std::sqrt(squares_ / (n - 1) / n)};
  }

 private:
  int64_t count_ = 0;
  double mean_ = 0;
  double squares_ = 0;
};

}  // namespace cadre
