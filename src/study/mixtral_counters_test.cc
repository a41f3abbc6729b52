// The published counters of Mixtral-8x7B's routers through our definitions: what others computed
// from them must come out. tests/goldens/mixtral_counters says where they are from.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numbers>
#include <numeric>
#include <span>
#include <sstream>

#include "base/json.h"
#include "base/lines.h"
#include "study/foresight.h"
#include "study/information.h"
#include "study/load_figures.h"

namespace cadre {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::Ge;
using ::testing::Le;

constexpr int64_t kExperts = 8;
constexpr int64_t kTopK = 2;
constexpr int64_t kDomains = 5;

std::string Golden(const std::string& name) {
  return std::string(std::getenv("CADRE_SOURCE_DIR")) + "/tests/goldens/mixtral_counters/" + name;
}

using Counts = std::vector<int64_t>;

struct Range {
  double low = 0;
  double high = 0;
};

// One column of the table: layers 0, 7, 15. Figures as published, each to its last digit.
struct Expected {
  double normalised_entropy;
  Range max_over_mean, min_over_mean, cv_squared, first_max_over_mean;
  Range first_repeat_percent, overlap_percent, shared_percent;
  double domain_bits, token_bits;
  double static_two, static_four;  // share of the choices of the most used experts
  double domain_given_token_bits;
  double lookup_two, lookup_four;  // the same of the most used experts of the token id
};
constexpr Expected kExpected[] = {
    {0.998,
     {1.11, 1.30},
     {0.74, 0.92},
     {.008, .017},
     {1.26, 1.58},
     {13.2, 14.1},
     {25.2, 25.4},
     {46.8, 47.3},
     0.003,
     0.57,
     0.28,
     0.52,
     0.11,
     0.42,
     0.68},
    {0.9996,
     {1.08, 1.25},
     {0.84, 0.95},
     {.002, .015},
     {1.16, 1.49},
     {12.6, 13.3},
     {25.0, 25.4},
     {46.5, 47.2},
     0.004,
     0.54,
     0.26,
     0.51,
     0.11,
     0.41,
     0.67},
    {0.992,
     {1.12, 1.33},
     {0.40, 0.74},
     {.024, .061},
     {1.21, 1.56},
     {12.9, 13.8},
     {25.6, 26.5},
     {47.6, 49.5},
     0.009,
     0.64,
     0.28,
     0.53,
     0.12,
     0.46,
     0.71},
};

class MixtralCounters : public ::testing::TestWithParam<size_t> {
 protected:
  MixtralCounters() : json_(ReadJsonFile(Golden("counts.json"))) {
    for (const auto& row : json_["layers"][GetParam()]["all"]) all_.push_back(row.get<Counts>());
    for (const auto& row : json_["layers"][GetParam()]["first"])
      first_.push_back(row.get<Counts>());
  }

  const Expected& expected() const { return kExpected[GetParam()]; }
  Counts Pooled() const {
    Counts pooled(kExperts);
    for (const auto& row : all_) {
      for (size_t e = 0; e < row.size(); ++e) pooled[e] += row[e];
    }
    return pooled;
  }
  template <typename Figure>
  static std::vector<double> OfDomains(const std::vector<Counts>& domains, const Figure& figure) {
    std::vector<double> values;
    for (const auto& counts : domains) values.push_back(figure(FiguresOf(counts)));
    return values;
  }
  // The values' least and greatest are the printed ones, rounded as those are.
  static void ExpectRange(const std::vector<double>& values, const Range& range, double unit) {
    const auto [low, high] = std::minmax_element(values.begin(), values.end());
    EXPECT_NEAR(*low, range.low, 0.5001 * unit);
    EXPECT_NEAR(*high, range.high, 0.5001 * unit);
  }

  // The choices of each token id: [ids][domains * E].
  static std::vector<Counts> TokenIds() {
    std::vector<Counts> ids;
    ReadLines(Golden("tokens.txt.zst"), [&](const std::string& line, const std::string&) {
      std::istringstream fields(line);
      size_t layer = 0, times = 0;
      fields >> layer >> times;
      if (layer == GetParam())
        ids.insert(ids.end(), times, Counts{std::istream_iterator<int64_t>(fields), {}});
    });
    return ids;
  }
  static std::span<const int64_t> OfDomain(const Counts& id, int64_t domain) {
    return std::span(id).subspan(static_cast<size_t>(domain * kExperts), kExperts);
  }
  // An id's choices of each expert, in all domains but one. [E]
  static Counts Sum(const Counts& id, int64_t without) {
    Counts sum(kExperts);
    for (int64_t d = 0; d < kDomains; ++d) {
      for (size_t e = 0; d != without && e < sum.size(); ++e) sum[e] += OfDomain(id, d)[e];
    }
    return sum;
  }
  static int64_t Total(std::span<const int64_t> counts) {
    return std::accumulate(counts.begin(), counts.end(), int64_t{0});
  }

  Json json_;
  std::vector<Counts> all_, first_;  // [domains][E]
};

TEST_P(MixtralCounters, EveryTokenIsCountedTwice) {
  for (size_t d = 0; d < all_.size(); ++d) {
    EXPECT_EQ(std::accumulate(all_[d].begin(), all_[d].end(), int64_t{0}), 2 * 208896);
    EXPECT_EQ(std::accumulate(first_[d].begin(), first_[d].end(), int64_t{0}), 208896);
  }
}

TEST_P(MixtralCounters, LoadsAreAsEvenAsPublished) {
  EXPECT_NEAR(FiguresOf(Pooled()).normalised_entropy, expected().normalised_entropy, 0.0005);
  ExpectRange(OfDomains(all_, [](const auto& f) { return f.max_over_mean; }),
              expected().max_over_mean, 0.01);
  ExpectRange(OfDomains(all_, [](const auto& f) { return f.min_over_mean; }),
              expected().min_over_mean, 0.01);
  ExpectRange(OfDomains(all_, [](const auto& f) { return f.cv_squared; }), expected().cv_squared,
              0.001);
  ExpectRange(OfDomains(first_, [](const auto& f) { return f.max_over_mean; }),
              expected().first_max_over_mean, 0.01);
}

TEST_P(MixtralCounters, BaselinesOfRepeatsAreThosePublished) {
  ExpectRange(OfDomains(first_, [](const auto& f) { return 100 * f.sum_squares; }),
              expected().first_repeat_percent, 0.1);
  ExpectRange(
      OfDomains(all_, [](const auto& f) { return 100 * IndependentOverlap(f.shares, kTopK); }),
      expected().overlap_percent, 0.1);
  // P(at least one) = E|S and S'| - P(both), and both of even pairs are 1/28.
  ExpectRange(OfDomains(all_,
                        [](const auto& f) {
                          return 100 * (kTopK * IndependentOverlap(f.shares, kTopK) - 1.0 / 28);
                        }),
              expected().shared_percent, 0.1);
}

// Of each domain's choices, those of the experts that the other four use most; the mean of five.
TEST_P(MixtralCounters, TheMostUsedExpertsServeWhatIsPublished) {
  const Counts pooled = Pooled();
  double two = 0, four = 0;
  for (const auto& domain : all_) {
    const auto of_others = [&](size_t e) { return pooled[e] - domain[e]; };
    std::vector<size_t> order(kExperts);
    std::iota(order.begin(), order.end(), size_t{0});
    std::sort(order.begin(), order.end(),
              [&](size_t a, size_t b) { return of_others(a) > of_others(b); });
    const auto shares = FiguresOf(domain).shares;
    for (size_t i = 0; i < 4; ++i) {
      two += i < 2 ? shares[order[i]] / 5 : 0;
      four += shares[order[i]] / 5;
    }
    EXPECT_GE(StaticHitRate(shares, 2), shares[order[0]] + shares[order[1]]);
  }
  EXPECT_NEAR(two, expected().static_two, 0.0051);
  EXPECT_NEAR(four, expected().static_four, 0.0051);
}

TEST_P(MixtralCounters, DomainsSayAlmostNothingOfExperts) {
  Counts table;
  for (const auto& row : all_) table.insert(table.end(), row.begin(), row.end());
  const Information information = MutualInformation(table, kExperts);
  EXPECT_EQ(information.samples, 5 * 2 * 208896);
  EXPECT_NEAR(information.corrected_bits, expected().domain_bits, 0.0005);
}

TEST_P(MixtralCounters, TokensSayAFifthOfWhatThereIsToKnow) {
  Counts table;
  for (const auto& id : TokenIds()) {
    const Counts of_all = Sum(id, -1);
    table.insert(table.end(), of_all.begin(), of_all.end());
  }
  const Information information = MutualInformation(table, kExperts);
  EXPECT_EQ(information.samples, 5 * 2 * 208896);
  EXPECT_NEAR(information.corrected_bits, expected().token_bits, 0.005);
  EXPECT_GT(information.plugin_bits, information.corrected_bits + 0.02);
}

// Of the 564 ids that occur 200 times, in more than one domain.
TEST_P(MixtralCounters, DomainsSayLittleOnceTheTokenIsKnown) {
  Counts tables;
  int64_t ids = 0;
  for (const auto& id : TokenIds()) {
    int64_t domains = 0;
    for (int64_t d = 0; d < kDomains; ++d) domains += Total(OfDomain(id, d)) > 0;
    if (domains < 2 || Total(id) < kTopK * 200) continue;
    tables.insert(tables.end(), id.begin(), id.end());
    ++ids;
  }
  EXPECT_EQ(ids, 564);
  const Information information = ConditionalInformation(tables, kDomains, kExperts);
  EXPECT_NEAR(static_cast<double>(information.samples) / (5 * 2 * 208896), 0.60, 0.005);
  EXPECT_NEAR(information.corrected_bits, expected().domain_given_token_bits, 0.0051);
}

// A token's experts looked up by its id in the counts of the other four domains; the mean of five.
TEST_P(MixtralCounters, TheTokenIdForetellsWhatIsPublished) {
  const auto token_ids = TokenIds();
  const Counts pooled = Pooled();
  double two = 0, four = 0;
  std::vector<double> unseen;  // shares of choices that the most used experts had to stand in for
  for (int64_t d = 0; d < kDomains; ++d) {
    const Counts& domain = all_[static_cast<size_t>(d)];
    Counts of_others(kExperts);
    for (size_t e = 0; e < of_others.size(); ++e) of_others[e] = pooled[e] - domain[e];
    int64_t first_two = 0, first_four = 0, without = 0;
    for (const auto& id : token_ids) {
      const auto here = OfDomain(id, d);
      const Counts elsewhere = Sum(id, d);
      const auto order = RankByCount(elsewhere, of_others);
      for (size_t i = 0; i < 4; ++i) {
        first_two += i < 2 ? here[order[i]] : 0;
        first_four += here[order[i]];
      }
      if (Total(elsewhere) < kLeastChoices) without += Total(here);
    }
    const auto choices = static_cast<double>(Total(domain));
    two += static_cast<double>(first_two) / choices / kDomains;
    four += static_cast<double>(first_four) / choices / kDomains;
    unseen.push_back(static_cast<double>(without) / choices);
  }
  EXPECT_NEAR(two, expected().lookup_two, 0.0051);
  EXPECT_NEAR(four, expected().lookup_four, 0.0051);
  ExpectRange(unseen, {.06, .30}, 0.01);
}

INSTANTIATE_TEST_SUITE_P(Layers0And7And15, MixtralCounters, ::testing::Values(0, 1, 2));

TEST(MixtralCounters, AChoiceSaysLittleOfThatSevenLayersLater) {
  const Json json = ReadJsonFile(Golden("counts.json"));
  const double bits[] = {0.06, 0.12}, right[] = {0.20, 0.23};
  for (size_t i = 0; i < 2; ++i) {
    Counts table;
    int64_t best = 0, total = 0;
    for (const auto& row : json["first_choices_of_two_layers"][i]["counts"]) {
      const auto counts = row.get<Counts>();
      table.insert(table.end(), counts.begin(), counts.end());
      best += *std::max_element(counts.begin(), counts.end());
      total += std::accumulate(counts.begin(), counts.end(), int64_t{0});
    }
    EXPECT_NEAR(MutualInformation(table, kExperts).corrected_bits, bits[i], 0.005);
    EXPECT_NEAR(static_cast<double>(best) / static_cast<double>(total), right[i], 0.005);
  }
}

}  // namespace
}  // namespace cadre
