// How tests hold a backward operation, on every instruction set of this machine, against
// ops/reference_backward: within a bound, adding to what was there or overwriting it as the
// reference does, and with the same bits for one thread and three.
//
// The bounds. u = 2^-24 is the rounding of one float operation. A float sum of n products in any
// order is within (n + 1) u times the sum of the magnitudes of the terms (Higham, Accuracy and
// Stability, section 3.1); adding it to the output rounds once more, u |output|. Exp is good to
// 2^-22.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "cpu/cpu_backward.h"
#include "ops/backward_test_cases.h"
#include "ops/device_test_cases.h"

namespace cadre {

inline constexpr double kExpError = 0x1p-22;

using Outputs = std::vector<std::vector<float>>;
// How far an element of an output may be from the reference, besides the last rounding.
using Bound = std::function<double(size_t output, size_t element)>;

class CpuBackwardTest : public testing::TestWithParam<Isa> {
 protected:
  // `run` makes all its outputs with the given operations.
  void Expect(const std::function<Outputs(BackwardOps&)>& run, const Bound& bound) {
    const Outputs expected = run(*reference_), actual = run(*one_ops_);
    ASSERT_EQ(actual.size(), expected.size());
    for (size_t o = 0; o < actual.size(); ++o) {
      ASSERT_EQ(actual[o].size(), expected[o].size());
      for (size_t i = 0; i < actual[o].size(); ++i) {
        const double error = std::abs(double{actual[o][i]} - double{expected[o][i]});
        ASSERT_LE(error, bound(o, i) + 2 * kU * std::abs(double{expected[o][i]}))
            << "output " << o << " element " << i;
      }
    }
    EXPECT_EQ(run(*three_ops_), actual) << "three threads differ from one";
  }

  ThreadPool one_{1}, three_{3};
  std::unique_ptr<BackwardOps> reference_ = MakeReferenceBackward();
  std::unique_ptr<BackwardOps> one_ops_ = MakeCpuBackward(GetParam(), one_);
  std::unique_ptr<BackwardOps> three_ops_ = MakeCpuBackward(GetParam(), three_);
};

inline std::vector<Isa> IsasHere() {
  std::vector<Isa> isas;
  std::copy_if(std::begin(kAllIsas), std::end(kAllIsas), std::back_inserter(isas), HasIsa);
  return isas;
}

inline std::vector<float> Magnitudes(std::vector<float> values) {
  for (float& value : values) value = std::abs(value);
  return values;
}

}  // namespace cadre
