#include "eval/pass_at_k.h"

#include <gtest/gtest.h>

#include <bit>

namespace cadre {
namespace {

// Of all ways to draw k of n programs, the share of those with one that passes.
double ByCounting(int n, int passed, int k) {
  int drawn = 0, good = 0;
  for (unsigned set = 0; set < 1u << n; ++set) {
    if (std::popcount(set) != k) continue;
    ++drawn;
    if ((set & ((1u << passed) - 1)) != 0) ++good;
  }
  return static_cast<double>(good) / drawn;
}

TEST(PassAtK, IsTheShareOfDrawsWithOneThatPasses) {
  for (int n = 1; n <= 8; ++n) {
    for (int passed = 0; passed <= n; ++passed) {
      for (int k = 1; k <= n; ++k)
        EXPECT_NEAR(PassAtK(n, passed, k), ByCounting(n, passed, k), 1e-12) << n << passed << k;
    }
  }
}

TEST(PassAtK, HasNoLimitOnNumbers) {
  EXPECT_NEAR(PassAtK(200, 10, 1), 0.05, 1e-12);
  EXPECT_NEAR(PassAtK(200, 1, 100), 0.5, 1e-12);
  EXPECT_EQ(PassAtK(1000, 901, 100), 1);
  EXPECT_EQ(PassAtK(1000, 0, 100), 0);
}

}  // namespace
}  // namespace cadre
