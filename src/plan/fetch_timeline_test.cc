#include "plan/fetch_timeline.h"

#include <gtest/gtest.h>

namespace cadre {
namespace {

FetchConfig OneLayer(int64_t slots) { return {.num_layers = 1, .num_experts = 8, .slots = slots}; }

StepCosts Costs(int64_t layers, double shared, double expert, double read) {
  return {std::vector<LayerCosts>(static_cast<size_t>(layers), {shared, expert, read, read}), 0};
}

TEST(FetchTimeline, HitsTakeWhatIsComputed) {
  FetchTimeline timeline(OneLayer(8));
  const auto costs = Costs(1, 1, 2, 10);
  timeline.Step(costs, {{0, 1}}, false);
  EXPECT_DOUBLE_EQ(timeline.Step(costs, {{0, 1}}, false), 1 + 2 + 2);
  EXPECT_EQ(timeline.counts().hits, 2);
  EXPECT_EQ(timeline.counts().misses, 2);
}

TEST(FetchTimeline, ReadsOverlapWhatIsThere) {
  FetchTimeline timeline(OneLayer(8));
  const auto costs = Costs(1, 1, 2, 10);
  // Both are read one after the other, the first is run while the second comes.
  EXPECT_DOUBLE_EQ(timeline.Step(costs, {{0, 1}}, false), 1 + 20 + 2);
  // One is there and runs while the other comes.
  EXPECT_DOUBLE_EQ(timeline.Step(costs, {{1, 2}}, false), 1 + 10 + 2);
}

TEST(FetchTimeline, WithOnePlaceNothingOverlaps) {
  FetchTimeline timeline(OneLayer(1));
  EXPECT_DOUBLE_EQ(timeline.Step(Costs(1, 1, 2, 10), {{0, 1}}, false), 1 + 2 * (10 + 2));
}

TEST(FetchTimeline, PackingSlowsWhatComputesWhileReadsComeIn) {
  FetchConfig config = OneLayer(8);
  config.packing_share = .5;
  FetchTimeline timeline(config);
  const auto costs = Costs(1, 1, 2, 10);
  timeline.Step(costs, {{0, 1}}, false);
  // The expert that is there takes 4 of the 10 seconds; the other 2 alone.
  EXPECT_DOUBLE_EQ(timeline.Step(costs, {{1, 2}}, false), 1 + 10 + 2);
  // Longer than the read: 10 seconds at half speed, the rest at full.
  EXPECT_DOUBLE_EQ(timeline.Step(Costs(1, 1, 7, 10), {{2, 3}}, false), 1 + 10 + 2 + 7);
}

TEST(FetchTimeline, RightGuessesAreReadWhileTheLayerBeforeRuns) {
  FetchConfig config = {.num_layers = 2, .num_experts = 8, .slots = 2, .guesses = 1, .foreseen = 1};
  FetchTimeline timeline(config);
  const auto costs = Costs(2, 1, 5, 4);
  // Layer 1: its one expert was read during the 5 seconds of layer 0's, so only layer 0 waits.
  EXPECT_DOUBLE_EQ(timeline.Step(costs, {{0}, {3}}, false), 1 + 4 + 5 + 1 + 5);
  EXPECT_EQ(timeline.counts().begun, 1);
  EXPECT_DOUBLE_EQ(timeline.counts().waited, 4);
}

TEST(FetchTimeline, WrongGuessesDelayNothing) {
  FetchConfig config = {.num_layers = 2, .num_experts = 8, .slots = 2, .guesses = 1, .foreseen = 0};
  FetchTimeline timeline(config);
  EXPECT_DOUBLE_EQ(timeline.Step(Costs(2, 1, 5, 4), {{0}, {3}}, false), 1 + 4 + 5 + 1 + 4 + 5);
  EXPECT_EQ(timeline.counts().begun, 0);
}

TEST(FetchTimeline, GuessesChangeNoHits) {
  const auto hits = [](int64_t guesses) {
    FetchTimeline timeline({.num_layers = 3,
                            .num_experts = 8,
                            .slots = 9,
                            .guesses = guesses,
                            .foreseen = .7,
                            .seed = 4});
    Random random(2);
    for (int t = 0; t < 200; ++t) {
      std::vector<std::vector<int32_t>> needed;
      for (int l = 0; l < 3; ++l) {
        const auto first = static_cast<int32_t>(random.NextBelow(8));
        needed.push_back({first, static_cast<int32_t>((first + 1 + random.NextBelow(7)) % 8)});
      }
      timeline.Step(Costs(3, 1, 1, 3), needed, false);
    }
    return timeline.counts().hits;
  };
  EXPECT_EQ(hits(0), hits(2));
  // Uniform choices: a cache of 9 of 24 hits as often.
  EXPECT_NEAR(static_cast<double>(hits(0)) / 1200, 9.0 / 24, .04);
}

}  // namespace
}  // namespace cadre
