// The oracle against values worked out by hand: small cases whose results are known exactly.
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>
#include <vector>

#include "ops/attention_test_cases.h"
#include "ops/device_test_cases.h"
#include "tensor/float16.h"

namespace cadre {
namespace {

TEST(ReferenceDevice, MatMulIsTheTableOfDotProducts) {
  const std::vector<float> w = {1, 2, 3, 4, 5, 6};  // [2, 3]
  const std::vector<float> x = {1, 0, -1, 2, 2, 2};
  const Weight weight = {reinterpret_cast<const std::byte*>(w.data()), DType::kF32, 2, 3};
  EXPECT_EQ(RunMatMul(*MakeReferenceDevice(), x, 2, weight, ActivationType::kRounded),
            (std::vector<float>{-2, -2, 12, 30}));
}

// With amax 127 the step is 1, so values round to integers, ties to even; float weights leave
// activations alone.
TEST(ReferenceDevice, Int8RoundsGroupsOf32ForQuantisedWeightsOnly) {
  std::vector<float> x(64, 0.0f);
  x[0] = 127, x[1] = 0.5f, x[2] = 1.5f, x[3] = -2.5f;
  x[32] = 254, x[33] = 0.9f, x[34] = 1.1f;  // another group: step 2
  std::vector<std::byte> ones(68);
  EncodeRow(DType::kQ8_0, std::vector<float>(64, 127.0f), ones.data());  // scale 1
  const Weight quantised = {ones.data(), DType::kQ8_0, 1, 64};
  const auto reference = MakeReferenceDevice();
  EXPECT_EQ(RunMatMul(*reference, x, 1, quantised, ActivationType::kRounded)[0],
            127.0f * (127 + 0 + 2 - 2 + 254 + 0 + 2));
  EXPECT_FLOAT_EQ(RunMatMul(*reference, x, 1, quantised, ActivationType::kF32)[0], 127.0f * 382.5f);
}

TEST(ReferenceDevice, MatMulAddsTheLowRank) {
  const auto device = MakeReferenceDevice();
  for (const auto activation : {ActivationType::kF32, ActivationType::kRounded})
    CheckLowRank(*device, DType::kQ8_0, activation, 3, 7, 64, 2);
}

TEST(ReferenceDevice, RmsNormMakesTheMeanSquareOne) {
  const std::vector<float> x = {3, 4, 0, 0, 0};
  const std::vector<float> weight = {1, 2, 1, 1, 1};
  std::vector<float> out(5);
  MakeReferenceDevice()->RmsNorm(Mat<const float>(x.data(), 1, 5), weight, 0.0f, View(out, 1, 5));
  EXPECT_FLOAT_EQ(out[0], 3 / std::sqrt(5.0f));
  EXPECT_FLOAT_EQ(out[1], 8 / std::sqrt(5.0f));
}

TEST(ReferenceDevice, RopeTurnsThePairsOfItsLayout) {
  const std::vector<int64_t> positions = {1};
  const std::vector<double> inv_freq = {std::numbers::pi / 2, std::numbers::pi};
  std::vector<float> half_split = {1, 2, 3, 4}, interleaved = {1, 2, 3, 4};
  const auto reference = MakeReferenceDevice();
  reference->Rope(View(half_split, 1, 4), 4, positions, inv_freq, RopeLayout::kHalfSplit);
  reference->Rope(View(interleaved, 1, 4), 4, positions, inv_freq, RopeLayout::kInterleaved);
  const float expected_half_split[] = {-3, -2, 1, -4};
  const float expected_interleaved[] = {-2, -3, 1, -4};  // and left half-split
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_FLOAT_EQ(half_split[i], expected_half_split[i]);
    EXPECT_FLOAT_EQ(interleaved[i], expected_interleaved[i]);
  }
}

// Equal keys: every visible value has the same weight, and the denominator counts the keys.
TEST(ReferenceDevice, AttentionOfEqualKeysIsTheMeanOverTheWindow) {
  for (const int64_t window : {0, 3}) {
    KvCase c(KvType::kF32, 1, 2, 4, window, {300});
    std::fill(c.k.begin(), c.k.end(), 0.0f);
    for (size_t i = 0; i < c.v.size(); ++i) c.v[i] = static_cast<float>(i / 4);  // the position
    const auto reference = MakeReferenceDevice();
    const KvRun run(*reference, c, c.rows());
    for (int64_t t = 0; t < 300; ++t) {
      const int64_t first = window == 0 ? 0 : std::max<int64_t>(0, t - window + 1);
      const auto keys = static_cast<double>(t - first + 1);
      EXPECT_FLOAT_EQ(run.out[static_cast<size_t>(8 * t)],
                      static_cast<float>(static_cast<double>(first + t) / 2));
      EXPECT_FLOAT_EQ(run.lse[static_cast<size_t>(2 * t + 1)], static_cast<float>(std::log(keys)));
    }
  }
}

TEST(ReferenceDevice, AttentionPicksTheKeyThatStandsOut) {
  KvCase c(KvType::kF16, 2, 2, 8, 0, {20});
  std::fill(c.k.begin(), c.k.end(), 0.0f);
  std::fill(c.q.begin(), c.q.end(), 30.0f);
  for (size_t d = 0; d < 16; ++d)
    c.k[16 * 5 + d] = 30.0f;  // position 5, both heads: score 7200 / sqrt(8)
  const auto reference = MakeReferenceDevice();
  const KvRun run(*reference, c, c.rows());
  for (size_t h = 0; h < 4; ++h) {
    for (size_t d = 0; d < 8; ++d) {
      EXPECT_EQ(run.out[(19 * 4 + h) * 8 + d], ToFloat(ToF16(c.v[16 * 5 + h / 2 * 8 + d])));
    }
    EXPECT_FLOAT_EQ(run.lse[19 * 4 + h], 7200 / std::sqrt(8.0f));
  }
}

TEST(ReferenceDevice, Q8CacheKeepsHalfAStep) {
  const KvCase exact(KvType::kF32, 1, 1, 16, 0, {1});
  const KvCase rounded(KvType::kQ8, 1, 1, 16, 0, {1});
  const auto reference = MakeReferenceDevice();
  const KvRun run(*reference, rounded, 1);  // one key: attention gives the value as stored
  float amax = 0;
  for (const float value : exact.v) amax = std::max(amax, std::abs(value));
  for (size_t d = 0; d < 16; ++d) EXPECT_NEAR(run.out[d], exact.v[d], amax / 127 / 2 * 1.0001);
}

TEST(ReferenceDevice, SwiGluOfZeroIsZeroAndOfLargeIsTheProduct) {
  const std::vector<float> gate = {0, 40, -200, 1};
  const std::vector<float> up = {5, 2, 7, 1};
  std::vector<float> out(4);
  MakeReferenceDevice()->SwiGlu(Mat<const float>(gate.data(), 1, 4),
                                Mat<const float>(up.data(), 1, 4), View(out, 1, 4));
  EXPECT_EQ(out[0], 0.0f);
  EXPECT_FLOAT_EQ(out[1], 80.0f);
  EXPECT_EQ(out[2], 0.0f);  // below the smallest float
  EXPECT_FLOAT_EQ(out[3], 0.7310586f);
}

TEST(ReferenceDevice, DispatchKeepsItsOwnBounds) {
  const auto reference = MakeReferenceDevice();
  CheckDispatch(*reference, 9, 5);
  CheckAddAndEmbed(*reference, DType::kQ6_K, 3, 256);
}

TEST(ReferenceDevice, DecodeEqualsPrefill) {
  const auto reference = MakeReferenceDevice();
  CheckDecodeEqualsPrefill(*reference, KvCase(KvType::kQ8, 1, 2, 8, 100, {260, 2}));
}

}  // namespace
}  // namespace cadre
