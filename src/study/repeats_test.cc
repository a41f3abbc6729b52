#include "study/repeats.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "study/load_figures.h"
#include "study/testing.h"

namespace cadre {
namespace {

using study_testing::Choices;
using study_testing::MakeTrace;
using study_testing::StickyChoices;

TEST(Repeats, AreCountedByHand) {
  // Pairs: (0 1)(0 2) same first, one shared; (0 2)(2 0) both shared; (2 0)(1 3) none.
  const RoutingTrace trace = MakeTrace(4, 2, {{{{0, 1}, {0, 2}, {2, 0}, {1, 3}}}});
  const RepeatCounts next = CountRepeats(trace, trace.layers.front(), trace.documents.front(), 1);
  EXPECT_EQ(next.pairs, 3);
  EXPECT_EQ(next.same_first, 1);
  EXPECT_EQ(next.any_shared, 2);
  EXPECT_EQ(next.shared, 3);
  EXPECT_DOUBLE_EQ(next.overlap(2), 0.5);
  const RepeatCounts third = CountRepeats(trace, trace.layers.front(), trace.documents.front(), 3);
  EXPECT_EQ(third.pairs, 1);
  EXPECT_EQ(third.any_shared, 1);
}

TEST(Repeats, NeighboursOfTwoDocumentsAreNoPair) {
  const RoutingTrace trace = MakeTrace(4, 2, {{{{0, 1}, {0, 1}}, {{0, 1}}}});
  const DomainRepeats found = RepeatsOf(trace, 0, 0, 0);
  EXPECT_EQ(found.by_lag.front().pairs, 1);
}

// Within three standard errors of 12.5 % and 46.43 %, at every lag, and so are the baselines.
TEST(Repeats, IndependentEvenChoicesRepeatAsChanceSays) {
  constexpr int64_t kTokens = 30'000;
  const RoutingTrace trace = MakeTrace(8, 2, {{StickyChoices(kTokens, 8, 2, 0, 1)}});
  const DomainRepeats found = RepeatsOf(trace, 0, 0, 0);
  for (const RepeatCounts& counts : found.by_lag) {
    EXPECT_NEAR(counts.first(), 0.125, 3 * 0.0019);
    EXPECT_NEAR(counts.any(), 13.0 / 28, 3 * 0.0029);
    EXPECT_NEAR(counts.overlap(2), 0.25, 3 * 0.0018);
  }
  EXPECT_NEAR(found.marginal.first, 0.125, 0.001);
  EXPECT_NEAR(found.marginal.any, 13.0 / 28, 0.001);
  EXPECT_NEAR(found.in_document.first, 0.125, 0.001);
  EXPECT_NEAR(found.in_document.any, 13.0 / 28, 0.001);
  EXPECT_NEAR(found.in_document_spread.any, 0.0029, 0.001);
  EXPECT_DOUBLE_EQ(found.even.any, 13.0 / 28);
}

// q + (1 - q) / 8 next to each other; far apart nothing of it is left; the shuffles see nothing.
TEST(Repeats, StickyChoicesRepeatNearAndNotFar) {
  const RoutingTrace trace = MakeTrace(8, 2, {{StickyChoices(30'000, 8, 2, 0.4, 2)}});
  const DomainRepeats found = RepeatsOf(trace, 0, 0, 0);
  EXPECT_NEAR(found.by_lag.front().first(), 0.4 + 0.6 / 8, 0.01);
  EXPECT_NEAR(found.by_lag.front().any(), 0.4 + 0.6 * 13 / 28, 0.01);
  EXPECT_NEAR(found.by_lag.back().first(), found.marginal.first, 0.01);
  EXPECT_NEAR(found.in_document.first, found.marginal.first, 0.003);
}

TEST(Repeats, AConstantTraceAlwaysRepeats) {
  const RoutingTrace trace = MakeTrace(8, 2, {{Choices(50, {3, 5})}});
  const DomainRepeats found = RepeatsOf(trace, 0, 0, 0);
  EXPECT_DOUBLE_EQ(found.by_lag.front().first(), 1);
  EXPECT_DOUBLE_EQ(found.marginal.any, 1);
  EXPECT_DOUBLE_EQ(found.in_document.any, 1);
  EXPECT_DOUBLE_EQ(found.run_length[3], 50);
  EXPECT_DOUBLE_EQ(found.run_length[0], 0);
}

// Documents that keep to experts of their own: shuffling within them finds the repeats that the
// domain's loads do not.
TEST(Repeats, ShufflingWithinDocumentsKeepsTheirLoads) {
  const RoutingTrace trace = MakeTrace(4, 1, {{Choices(40, {0}), Choices(40, {1})}});
  const DomainRepeats found = RepeatsOf(trace, 0, 0, 0);
  EXPECT_DOUBLE_EQ(found.marginal.first, 0.5);
  EXPECT_DOUBLE_EQ(found.in_document.first, 1);
}

TEST(Repeats, RunsOfIndependentChoicesAreGeometric) {
  const RoutingTrace trace = MakeTrace(8, 2, {{StickyChoices(30'000, 8, 2, 0, 3)}});
  const DomainRepeats found = RepeatsOf(trace, 0, 0, 0);
  for (size_t e = 0; e < 8; ++e) {
    EXPECT_NEAR(found.independent_run_length[e], 4.0 / 3, 0.02);
    EXPECT_NEAR(found.run_length[e], found.independent_run_length[e], 0.03);
  }
}

TEST(IndependentAny, OfUnevenLoadsIsAboveThatOfEvenOnes) {
  // {0 1} half of the time, {0 2} and {2 3} a quarter each: only {0 1} and {2 3} have nothing in
  // common.
  const std::vector<uint16_t> sets = {0, 1, 1, 0, 0, 2, 3, 2};
  EXPECT_DOUBLE_EQ(IndependentAny(sets, 2), 1 - 2 * 0.5 * 0.25);
}

TEST(IndependentAny, OfVeryManySetsIsDrawn) {
  Random draws(4);
  std::vector<uint16_t> sets;
  for (int i = 0; i < 20'000; ++i) {
    const auto row = study_testing::EvenChoice(draws, 32, 4);
    sets.insert(sets.end(), row.begin(), row.end());
  }
  EXPECT_NEAR(IndependentAny(sets, 4), EvenShared(32, 4), 0.004);
}

}  // namespace
}  // namespace cadre
