#include "train/mixture.h"

#include <gtest/gtest.h>

#include <set>

namespace cadre {
namespace {

TEST(Mixture, GoesThroughASourceWholeBeforeAnyComesAgain) {
  Mixture mixture({{5, 1.0}}, 3);
  std::vector<size_t> orders[3];
  for (auto& order : orders) {
    std::set<size_t> seen;
    for (int i = 0; i < 5; ++i) {
      order.push_back(mixture.Next().sample);
      seen.insert(order.back());
    }
    EXPECT_EQ(seen.size(), 5u);
  }
  EXPECT_TRUE(orders[0] != orders[1] || orders[1] != orders[2]);
  EXPECT_DOUBLE_EQ(mixture.Epochs(), 3);
}

TEST(Mixture, DrawsSourcesByWeight) {
  Mixture mixture({{10, 3.0}, {1000, 1.0}}, 1);
  int first = 0;
  for (int i = 0; i < 10'000; ++i) first += mixture.Next().source == 0;
  EXPECT_NEAR(first, 7500, 4 * 44);  // four deviations
}

TEST(Mixture, IsAFunctionOfSeedAndPlace) {
  const auto draws = [](uint64_t seed, bool restart) {
    Mixture mixture({{7, 1.0}, {3, 2.0}}, seed);
    if (restart) {
      for (int i = 0; i < 13; ++i) mixture.Next();
      mixture.Restart();
    }
    std::vector<std::pair<size_t, size_t>> all;
    for (int i = 0; i < 50; ++i) {
      const auto draw = mixture.Next();
      all.emplace_back(draw.source, draw.sample);
    }
    return all;
  };
  EXPECT_EQ(draws(1, false), draws(1, true));
  EXPECT_NE(draws(1, false), draws(2, false));
}

}  // namespace
}  // namespace cadre
