#include "study/cache_curves.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "study/load_figures.h"
#include "study/repeats.h"
#include "study/testing.h"

namespace cadre {
namespace {

using study_testing::Choices;
using study_testing::MakeTrace;
using study_testing::StickyChoices;

ChoiceStream StreamOf(const RoutingTrace& trace) {
  return {.experts = trace.layers.front().experts,
          .top_k = trace.top_k,
          .num_experts = trace.num_experts};
}

// Sets by hand, the plain way: newest last.
int64_t PlainLru(const ChoiceStream& stream, int64_t slots) {
  std::vector<uint16_t> cache;
  int64_t hits = 0;
  for (int64_t t = 0; t < stream.tokens(); ++t) {
    const auto needed = stream.At(t);
    for (const uint16_t e : needed) hits += std::count(cache.begin(), cache.end(), e);
    for (size_t r = needed.size(); r-- > 0;) {
      std::erase(cache, needed[r]);
      cache.push_back(needed[r]);
    }
    while (std::ssize(cache) > slots) cache.erase(cache.begin());
  }
  return hits;
}

// The most hits that any choice of what to give up can have.
int64_t BestHits(const ChoiceStream& stream, int64_t slots, int64_t t, uint32_t cache) {
  if (t == stream.tokens()) return 0;
  uint32_t needed = 0;
  int64_t hits = 0;
  for (const uint16_t e : stream.At(t)) {
    needed |= 1U << e;
    hits += cache >> e & 1U;
  }
  const uint32_t have = cache | needed;
  int64_t best = 0;
  for (uint32_t kept = 0; kept <= have; ++kept) {
    const bool fits =
        (kept & ~have) == 0 && (kept & needed) == needed && __builtin_popcount(kept) <= slots;
    if (fits) best = std::max(best, BestHits(stream, slots, t + 1, kept));
  }
  return hits + best;
}

TEST(LruHits, OfAllSizesAreThoseOfEach) {
  const RoutingTrace trace = MakeTrace(6, 2, {{StickyChoices(500, 6, 2, 0.3, 1)}});
  const ChoiceStream stream = StreamOf(trace);
  const auto hits = LruHits(stream);
  for (int64_t slots = 1; slots <= 6; ++slots)
    EXPECT_EQ(hits[static_cast<size_t>(slots)], PlainLru(stream, slots)) << slots;
}

TEST(LruHits, OfAsManyAsATokenUsesAreItsOverlapWithTheLast) {
  const RoutingTrace trace = MakeTrace(8, 2, {{StickyChoices(2000, 8, 2, 0.2, 2)}});
  const RepeatCounts next = CountRepeats(trace, trace.layers.front(), trace.documents.front(), 1);
  EXPECT_EQ(LruHits(StreamOf(trace))[2], next.shared);
}

// Sticky pairs: q + (1 - q)/4 for two slots, and the simulated .55 .63 .70 .85 of q = .4.
TEST(CacheCurves, OfStickyChoicesAreThoseOfTheToyModel) {
  const RoutingTrace trace = MakeTrace(8, 2, {{StickyChoices(60'000, 8, 2, 0.4, 3)}});
  const CacheCurves curves = CacheCurvesOf(trace, 0);
  ASSERT_EQ(curves.slots, (std::vector<int64_t>{2, 3, 4, 5, 6, 7, 8}));
  EXPECT_NEAR(curves.lru[0], 0.55, 0.005);
  EXPECT_NEAR(curves.lru[1], 0.63, 0.01);
  EXPECT_NEAR(curves.lru[2], 0.70, 0.005);
  EXPECT_NEAR(curves.lru[4], 0.85, 0.005);
}

TEST(CacheCurves, OfEvenChoicesAreSlotsOverExperts) {
  const RoutingTrace trace = MakeTrace(8, 2, {{StickyChoices(40'000, 8, 2, 0, 4)}});
  const CacheCurves curves = CacheCurvesOf(trace, 0);
  for (size_t i = 0; i < curves.slots.size(); ++i) {
    EXPECT_NEAR(curves.lru[i], curves.even[i], 0.006);
    EXPECT_NEAR(curves.lfu[i], curves.even[i], 0.006);
    EXPECT_NEAR(curves.most_used[i], curves.even[i], 0.012);
    EXPECT_GE(curves.belady[i], curves.lru[i]);
    EXPECT_GE(curves.belady[i], curves.lfu[i]);
    // The most used need not take in what a token needs; with room for one token, Belady must.
    if (i > 0) {
      EXPECT_GE(curves.belady[i], curves.most_used[i] - 0.001);  // first uses
    }
  }
  EXPECT_NEAR(curves.lru.back(), 1, 0.001);  // but for the first uses
  EXPECT_NEAR(curves.belady.back(), 1, 0.001);
}

TEST(BeladyHits, AreTheMostThatCanBe) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const RoutingTrace trace = MakeTrace(5, 2, {{StickyChoices(7, 5, 2, 0, seed)}});
    for (const int64_t slots : {2, 3, 4})
      EXPECT_EQ(BeladyHits(StreamOf(trace), slots), BestHits(StreamOf(trace), slots, 0, 0));
  }
}

// 0 most of the time, 1 and 2 in turns: the least frequent goes, though it came last.
TEST(LfuHits, KeepWhatIsUsedOften) {
  const RoutingTrace trace = MakeTrace(3, 1, {{{{0}, {0}, {0}, {1}, {2}, {0}, {1}, {0}}}});
  EXPECT_EQ(LfuHits(StreamOf(trace), 2), 2 + 1 + 0 + 1);
  EXPECT_EQ(LruHits(StreamOf(trace))[1], 2);
}

TEST(StoreHitRates, OfEvenChoicesAreSlotsOverExperts) {
  RoutingTrace trace = MakeTrace(8, 2, {{StickyChoices(6000, 8, 2, 0, 5)}});
  trace.layers.push_back(trace.layers.front());
  trace.layers[1].experts = MakeTrace(8, 2, {{StickyChoices(6000, 8, 2, 0, 6)}}).layers[0].experts;
  const std::vector<int64_t> slots = {2, 4, 8};
  const auto rates = StoreHitRates(trace, slots, 6000);
  EXPECT_NEAR(rates[0], 0.25, 0.02);
  EXPECT_NEAR(rates[1], 0.5, 0.02);
  EXPECT_NEAR(rates[2], 1, 0.002);
}

TEST(CacheSizes, AreAllOrSome) {
  EXPECT_EQ(CacheSizes(4, 2), (std::vector<int64_t>{2, 3, 4}));
  EXPECT_EQ(CacheSizes(4, 4), (std::vector<int64_t>{4}));
  const auto many = CacheSizes(128, 8);
  EXPECT_EQ(many.size(), 16U);
  EXPECT_EQ(many.front(), 8);
  EXPECT_EQ(many.back(), 128);
}

}  // namespace
}  // namespace cadre
