#include "plan/matmul_times.h"

#include <gtest/gtest.h>

namespace cadre {
namespace {

MatMulTimes Measured() {
  MatMulTimes times;
  times.Add({DType::kQ4_K, 100, 256, 1, 1.0});
  times.Add({DType::kQ4_K, 100, 256, 10, 2.0});
  times.Add({DType::kQ4_K, 100, 256, 20, 4.0});
  times.Add({DType::kQ4_K, 10, 256, 1, 0.5});
  return times;
}

TEST(MatMulTimes, GivesWhatWasMeasuredAndGoesOnInStraightLines) {
  const auto times = Measured();
  EXPECT_DOUBLE_EQ(times.Seconds(DType::kQ4_K, 100, 256, 10), 2.0);
  EXPECT_DOUBLE_EQ(times.Seconds(DType::kQ4_K, 100, 256, 15), 3.0);
  EXPECT_DOUBLE_EQ(times.Seconds(DType::kQ4_K, 100, 256, 30), 6.0);
}

TEST(MatMulTimes, OtherMatricesTakeAsLongForEachWeightAsTheNearest) {
  const auto times = Measured();
  EXPECT_DOUBLE_EQ(times.Seconds(DType::kQ4_K, 1000, 256, 20), 40.0);
  EXPECT_DOUBLE_EQ(times.Seconds(DType::kQ4_K, 20, 256, 1), 1.0);  // twice the small one
}

TEST(MatMulTimes, OneSampleIsTakenTimesTheTokens) {
  MatMulTimes times;
  times.Add({DType::kF32, 8, 64, 1, 0.25});
  EXPECT_DOUBLE_EQ(times.Seconds(DType::kF32, 8, 64, 4), 1.0);
}

TEST(MatMulTimes, MoreTokensNeverTakeLess) {
  MatMulTimes times;
  times.Add({DType::kF32, 8, 64, 1, 2.0});
  times.Add({DType::kF32, 8, 64, 2, 1.0});  // noise
  EXPECT_GE(times.Seconds(DType::kF32, 8, 64, 8), 1.0);
}

}  // namespace
}  // namespace cadre
