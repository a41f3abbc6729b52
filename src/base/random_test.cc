#include "base/random.h"

#include <gtest/gtest.h>

#include <cmath>

namespace cadre {
namespace {

// Known answers of the Random123 distribution for philox4x32-10.
TEST(Philox, MatchesThePublishedVectors) {
  EXPECT_EQ(Philox(0, 0, 0),
            (std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(Philox(UINT64_MAX, UINT64_MAX, UINT64_MAX),
            (std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
}

TEST(Random, GoesOnFromACounter) {
  Random a(7, 3);
  a.NextU64();
  a.NextNormal();
  Random b(7, 3, a.counter());
  EXPECT_EQ(a.NextU64(), b.NextU64());
}

TEST(Random, MomentsAreThoseOfTheDistributions) {
  Random random(1);
  double sum = 0, squares = 0, uniform = 0;
  constexpr int kDraws = 200000;
  for (int i = 0; i < kDraws; ++i) {
    const double x = random.NextNormal();
    sum += x;
    squares += x * x;
    uniform += random.NextDouble();
  }
  EXPECT_NEAR(sum / kDraws, 0, 0.01);
  EXPECT_NEAR(squares / kDraws, 1, 0.02);
  EXPECT_NEAR(uniform / kDraws, 0.5, 0.005);
}

TEST(Random, NextBelowStaysBelowAndReachesAll) {
  Random random(1);
  std::array<int, 7> counts{};
  for (int i = 0; i < 7000; ++i) ++counts[random.NextBelow(7)];
  for (const int count : counts) EXPECT_NEAR(count, 1000, 150);
}

}  // namespace
}  // namespace cadre
