#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "study/bootstrap.h"
#include "study/coactivation.h"
#include "study/information.h"
#include "study/load_figures.h"
#include "study/testing.h"

namespace cadre {
namespace {

using study_testing::MakeTrace;
using ::testing::DoubleNear;
using ::testing::ElementsAre;

TEST(LoadFigures, EvenLoadsAreEven) {
  const LoadFigures load = FiguresOf(std::vector<int64_t>(8, 5));
  EXPECT_DOUBLE_EQ(load.entropy_nats, std::log(8.0));
  EXPECT_DOUBLE_EQ(load.normalised_entropy, 1);
  EXPECT_DOUBLE_EQ(load.max_over_mean, 1);
  EXPECT_DOUBLE_EQ(load.cv_squared, 0);
  EXPECT_DOUBLE_EQ(load.sum_squares, 1.0 / 8);
}

// The example of uneven loads whose entropy hardly shows it.
TEST(LoadFigures, EntropyHardlyMovesWhereTheLargestIsSixtyPercentAboveTheMean) {
  const LoadFigures load = FiguresOf(std::vector<int64_t>{20, 16, 14, 12, 12, 10, 9, 7});
  EXPECT_NEAR(load.normalised_entropy, 0.977, 0.0005);
  EXPECT_DOUBLE_EQ(load.max_over_mean, 1.6);
  EXPECT_DOUBLE_EQ(load.min_over_mean, 0.56);
  EXPECT_NEAR(load.sum_squares, 0.137, 0.0005);
  EXPECT_NEAR(load.cv_squared, 8 * load.sum_squares - 1, 1e-12);
}

TEST(LoadFigures, ChanceLevelsOfTwoOfEight) {
  EXPECT_NEAR(EvenShared(8, 2), 13.0 / 28, 1e-15);
  EXPECT_DOUBLE_EQ(EvenShared(4, 3), 1);
  EXPECT_DOUBLE_EQ(EvenShared(8, 1), 1.0 / 8);
  EXPECT_DOUBLE_EQ(IndependentOverlap(std::vector<double>(8, 1.0 / 8), 2), 0.25);
  EXPECT_DOUBLE_EQ(StaticHitRate(std::vector<double>{0.1, 0.4, 0.2, 0.3}, 2), 0.7);
}

TEST(Information, OfHandMadeTables) {
  // Two labels that always agree: one bit. All four cells alike: none.
  EXPECT_NEAR(MutualInformation(std::vector<int64_t>{50, 0, 0, 50}, 2).plugin_bits, 1, 1e-12);
  EXPECT_NEAR(MutualInformation(std::vector<int64_t>{25, 25, 25, 25}, 2).plugin_bits, 0, 1e-12);
  // p = 3/8, 1/8 each way: 2 - H(3/8, 1/8, 1/8, 3/8) bits.
  const double joint = -2 * (0.375 * std::log2(0.375) + 0.125 * std::log2(0.125));
  const Information found = MutualInformation(std::vector<int64_t>{3, 1, 1, 3}, 2);
  EXPECT_NEAR(found.plugin_bits, 2 - joint, 1e-12);
  // Four cells, two rows, two columns: (4 - 2 - 2 + 1) / 2N nats too much.
  EXPECT_NEAR(found.corrected_bits, found.plugin_bits - 1.0 / 16 / std::numbers::ln2, 1e-12);
  EXPECT_EQ(MutualInformation(std::vector<int64_t>(4), 2).samples, 0);
}

TEST(Information, CorrectionTakesAwayWhatChanceAdds) {
  constexpr int64_t kRows = 40, kCols = 8, kSamples = 2000;
  Random draws(3);
  double plugin = 0, corrected = 0;
  for (int trial = 0; trial < 50; ++trial) {
    std::vector<int64_t> counts(kRows * kCols);
    for (int64_t i = 0; i < kSamples; ++i) ++counts[draws.NextBelow(kRows * kCols)];
    plugin += MutualInformation(counts, kCols).plugin_bits / 50;
    corrected += MutualInformation(counts, kCols).corrected_bits / 50;
  }
  EXPECT_NEAR(plugin, (kRows - 1) * (kCols - 1) / (2.0 * kSamples) / std::numbers::ln2, 0.005);
  EXPECT_NEAR(corrected, 0, 0.005);
}

TEST(Information, GivenAThirdLabelIsTheWeightedMeanOfItsTables) {
  // The first table says a bit over 100 samples, the second nothing over 300.
  const std::vector<int64_t> counts = {50, 0, 0, 50, 75, 75, 75, 75};
  EXPECT_NEAR(ConditionalInformation(counts, 2, 2).plugin_bits, 0.25, 1e-12);
}

TEST(Information, JensenShannonIsFromNothingToOneBit) {
  const std::vector<int64_t> a = {10, 0}, b = {0, 30}, c = {1, 1};
  EXPECT_NEAR(JensenShannonBits(a, b), 1, 1e-12);
  EXPECT_NEAR(JensenShannonBits(a, a), 0, 1e-12);
  // (1, 0) and (1/2, 1/2): H(3/4, 1/4) - 1/2.
  const double middle = -(0.75 * std::log2(0.75) + 0.25 * std::log2(0.25));
  EXPECT_NEAR(JensenShannonBits(a, c), middle - 0.5, 1e-12);
}

TEST(Information, JensenShannonBiasIsWhatSamplesOfOneLawDifferBy) {
  Random draws(4);
  constexpr int64_t kSamples = 500, kTrials = 400;
  double mean = 0;
  for (int64_t trial = 0; trial < kTrials; ++trial) {
    std::vector<int64_t> a(8), b(8);
    for (int64_t i = 0; i < kSamples; ++i) {
      ++a[draws.NextBelow(8)];
      ++b[draws.NextBelow(8)];
    }
    mean += JensenShannonBits(a, b) * std::numbers::ln2 / kTrials;
  }
  EXPECT_NEAR(mean, 0.0035, 0.0003);
  EXPECT_NEAR(JensenShannonBias(8, kSamples, kSamples) * std::numbers::ln2, 0.0035, 1e-12);
}

TEST(DocumentBootstrap, OneDocumentHasNoInterval) {
  const std::vector<double> one = {3}, of = {10};
  EXPECT_FALSE(DocumentBootstrap(1, 0, 0).OfRatio(one, of).has_value());
}

TEST(DocumentBootstrap, DocumentsThatAgreeHaveAnIntervalOfNoWidth) {
  const std::vector<double> some(10, 3), of(10, 12);
  const auto interval = DocumentBootstrap(10, 0, 0).OfRatio(some, of);
  EXPECT_DOUBLE_EQ(interval->low, 0.25);
  EXPECT_DOUBLE_EQ(interval->high, 0.25);
}

// Normal values with deviation 1 over 100 documents: +- 1.96 / 10.
TEST(DocumentBootstrap, IntervalsAreAsWideAsTheorySays) {
  Random draws(5);
  std::vector<double> values, ones(100, 1);
  for (int i = 0; i < 100; ++i) values.push_back(draws.NextNormal());
  const auto interval = DocumentBootstrap(100, 0, 0).OfRatio(values, ones);
  EXPECT_NEAR(interval->high - interval->low, 2 * 0.196, 0.06);
  const auto again = DocumentBootstrap(100, 0, 0).OfRatio(values, ones);
  EXPECT_EQ(interval->low, again->low);
  const auto other = DocumentBootstrap(100, 1, 0).OfRatio(values, ones);
  EXPECT_NE(interval->low, other->low);
}

TEST(DocumentBootstrap, LevelsOfANull) {
  std::vector<double> values;
  for (int i = 100; i >= 1; --i) values.push_back(i);
  EXPECT_DOUBLE_EQ(LevelOf(values).mean, 50.5);
  EXPECT_DOUBLE_EQ(LevelOf(values).high, 95);
  EXPECT_DOUBLE_EQ(MiddleOf({7}).low, 7);
}

TEST(Coactivation, CountsAllPairsOfAToken) {
  const RoutingTrace trace = MakeTrace(4, 3, {{{{0, 1, 2}, {2, 1, 0}, {3, 0, 1}}}});
  const Coactivation found = CoactivationOf(trace, trace.layers.front());
  EXPECT_THAT(found.pairs, ElementsAre(0, 3, 2, 1,  //
                                       3, 0, 2, 1,  //
                                       2, 2, 0, 0,  //
                                       1, 1, 0, 0));
}

// First 0 or 1, second 2 or 3, always 0 with 2 and 1 with 3: twice what independent ranks give.
TEST(Coactivation, LiftIsOverIndependentRanks) {
  const RoutingTrace trace = MakeTrace(4, 2, {{{{0, 2}, {1, 3}, {0, 2}, {1, 3}}}});
  const Coactivation found = CoactivationOf(trace, trace.layers.front());
  EXPECT_THAT(found.lift[0 * 4 + 2], DoubleNear(2, 1e-12));
  EXPECT_THAT(found.lift[0 * 4 + 3], DoubleNear(0, 1e-12));
  EXPECT_THAT(found.lift[0 * 4 + 1], DoubleNear(0, 1e-12));  // never expected
}

TEST(Coactivation, IndependentRanksHaveALiftOfOne) {
  const RoutingTrace trace = MakeTrace(8, 2, {{study_testing::StickyChoices(40'000, 8, 2, 0, 6)}});
  const Coactivation found = CoactivationOf(trace, trace.layers.front());
  for (size_t i = 0; i < 8; ++i) {
    for (size_t j = 0; j < 8; ++j) EXPECT_NEAR(found.lift[i * 8 + j], i == j ? 0 : 1, 0.09);
  }
}

}  // namespace
}  // namespace cadre
