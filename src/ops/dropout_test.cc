#include "ops/dropout.h"

#include <gtest/gtest.h>

#include <vector>

namespace cadre {
namespace {

TEST(Dropout, KeepsTheMeanAndRepeatsItsMask) {
  std::vector<float> a(64 * 1000, 1.0f);
  std::vector<float> b = a;
  ThreadPool one(1), three(3);
  Dropout({a.data(), 64, 1000}, 0.25f, 5, 9, one);
  Dropout({b.data(), 64, 1000}, 0.25f, 5, 9, three);
  EXPECT_EQ(a, b);
  double sum = 0;
  int64_t zeros = 0;
  for (const float value : a) {
    sum += value;
    zeros += value == 0;
  }
  EXPECT_NEAR(sum / 64000, 1.0, 0.01);
  EXPECT_NEAR(static_cast<double>(zeros) / 64000, 0.25, 0.01);
  std::vector<float> other(64 * 1000, 1.0f);
  Dropout({other.data(), 64, 1000}, 0.25f, 5, 10, one);
  EXPECT_NE(a, other);
}

}  // namespace
}  // namespace cadre
