#include "store/expert_cache.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/random.h"
#include "store/testing.h"

namespace cadre {
namespace {

using store_testing::Replay;
using store_testing::TraceStep;

constexpr int64_t kLayers = 4;
constexpr int64_t kExperts = 8;

// Tokens through all layers, two experts each; with probability `sticky` those of the token before.
std::vector<TraceStep> Trace(int64_t tokens, double sticky, uint64_t seed,
                             int64_t num_layers = kLayers) {
  Random random(seed);
  std::vector<TraceStep> trace;
  std::vector<std::vector<int32_t>> last(static_cast<size_t>(num_layers));
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t l = 0; l < num_layers; ++l) {
      auto& pair = last[static_cast<size_t>(l)];
      if (pair.empty() || random.NextDouble() >= sticky) {
        const auto a = static_cast<int32_t>(random.NextBelow(kExperts));
        const auto b = static_cast<int32_t>(
            (static_cast<uint64_t>(a) + 1 + random.NextBelow(kExperts - 1)) % kExperts);
        pair = {std::min(a, b), std::max(a, b)};
      }
      trace.push_back({l, pair});
    }
  }
  return trace;
}

// Hits of the cache over the trace, in the order of the store: what is there first.
int64_t Hits(ExpertCache& cache, const std::vector<TraceStep>& trace) {
  int64_t hits = 0;
  for (const auto& [layer, experts] : trace) {
    std::vector<int32_t> order, missing;
    for (const int32_t e : experts) (cache.Find(layer, e) ? order : missing).push_back(e);
    hits += std::ssize(order);
    cache.Use(layer, experts);
    size_t next = 0;
    const auto fill = [&] {
      while (next < missing.size() && cache.Insert(layer, missing[next])) ++next;
    };
    fill();
    order.insert(order.end(), missing.begin(), missing.end());
    for (const int32_t e : order) {
      cache.Unmark(layer, e);
      fill();
    }
    EXPECT_EQ(next, missing.size());
  }
  return hits;
}

TEST(ExpertCache, HitsAreThoseOfAPlainReplay) {
  for (const CachePolicy policy : {CachePolicy::kLru, CachePolicy::kFrequency}) {
    for (const double sticky : {0.0, 0.4}) {
      const auto trace = Trace(300, sticky, 3);
      for (const int64_t capacity : {1, 2, 3, 7, 8, 16, 31, 32}) {
        ExpertCache cache(kLayers, kExperts, capacity, policy);
        Replay replay(kLayers, static_cast<size_t>(capacity), policy);
        for (const auto& step : trace) replay.Run(step);
        EXPECT_EQ(Hits(cache, trace), replay.hits())
            << capacity << " slots, sticky " << sticky << ", policy " << static_cast<int>(policy);
      }
    }
  }
}

// No policy can do better or worse on independent uniform choices: c of E experts there, c/E hits.
// Below that a step gives up what it needs itself.
TEST(ExpertCache, HitsAreTheShareThatIsThereWhenChoicesAreIndependent) {
  for (const CachePolicy policy : {CachePolicy::kLru, CachePolicy::kFrequency}) {
    const auto trace = Trace(20000, 0, 5, 1);
    for (const int64_t capacity : {2, 3, 4, 6}) {
      ExpertCache cache(1, kExperts, capacity, policy);
      const double rate = static_cast<double>(Hits(cache, trace)) / 40000;
      EXPECT_NEAR(rate, static_cast<double>(capacity) / kExperts, 0.01) << capacity;
    }
  }
}

// With the last pair again with probability q, two slots hold exactly that pair.
TEST(ExpertCache, TwoLeastRecentlyUsedSlotsHoldTheLastPair) {
  for (const double q : {0.2, 0.4}) {
    ExpertCache cache(1, kExperts, 2, CachePolicy::kLru);
    const auto trace = Trace(20000, q, 9, 1);
    EXPECT_NEAR(static_cast<double>(Hits(cache, trace)) / 40000, q + (1 - q) / 4, 0.01);
  }
}

// By the clock, the next layer's experts are always the oldest, and a cache smaller than a token's
// experts would never hit.
TEST(ExpertCache, FewerSlotsThanATokenNeedsStillHit) {
  for (const CachePolicy policy : {CachePolicy::kLru, CachePolicy::kFrequency}) {
    ExpertCache cache(kLayers, kExperts, 4, policy);
    const auto trace = Trace(2000, 0.4, 11);
    EXPECT_GT(static_cast<double>(Hits(cache, trace)) / 16000, 0.2);
  }
}

TEST(ExpertCache, GivesUpNothingThatIsMarked) {
  ExpertCache cache(1, kExperts, 2, CachePolicy::kLru);
  const std::vector<int32_t> needed = {0, 1, 2};
  cache.Use(0, needed);
  EXPECT_EQ(cache.Insert(0, 0), 0);
  EXPECT_EQ(cache.Insert(0, 1), 1);
  EXPECT_FALSE(cache.Insert(0, 2).has_value());
  cache.Unmark(0, 1);
  EXPECT_EQ(cache.Insert(0, 2), 1);
  EXPECT_FALSE(cache.Find(0, 1).has_value());
  cache.Remove(0, 0);
  EXPECT_EQ(cache.Insert(0, 5), 0);
}

}  // namespace
}  // namespace cadre
