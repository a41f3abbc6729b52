#include "eval/likelihood.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "base/random.h"
#include "eval/testing.h"

namespace cadre {
namespace {

using eval_testing::SmallScorer;

std::vector<int32_t> RandomIds(Random& random, size_t count) {
  std::vector<int32_t> ids(count);
  for (auto& id : ids) id = static_cast<int32_t>(random.NextBelow(300));
  return ids;
}

std::vector<int32_t> Joined(std::initializer_list<std::vector<int32_t>> parts) {
  std::vector<int32_t> ids;
  for (const auto& part : parts) ids.insert(ids.end(), part.begin(), part.end());
  return ids;
}

LikelihoodRequest Request(std::vector<int32_t> ids, size_t num_asked) {
  const auto given = static_cast<int64_t>(ids.size() - num_asked);
  return {.ids = std::move(ids), .num_given = given};
}

// Items like those of benchmarks: a long common beginning, a question each, choices of one id or of
// several, some with the same beginning; and like WinoGrande's, where the contexts differ.
std::vector<ItemRequests> SomeItems(size_t prefix_size, size_t count, uint64_t seed = 1) {
  Random random(seed);
  const auto prefix = RandomIds(random, prefix_size);
  std::vector<ItemRequests> items;
  for (size_t i = 0; i < count; ++i) {
    const auto question = RandomIds(random, 3 + random.NextBelow(60));
    const auto common = RandomIds(random, 2);
    ItemRequests item;
    for (size_t choice = 0; choice < 4; ++choice) {
      if (i % 3 == 0) {
        item.push_back(Request(Joined({prefix, question, {static_cast<int32_t>(choice)}}), 1));
      } else if (i % 3 == 1) {
        const auto end = RandomIds(random, 1 + random.NextBelow(20));
        item.push_back(Request(Joined({prefix, question, common, end}), 2 + end.size()));
      } else {
        const auto option = RandomIds(random, 1 + random.NextBelow(3));
        item.push_back(Request(Joined({prefix, question, option, common}), 2));
      }
    }
    items.push_back(std::move(item));
  }
  return items;
}

void ExpectSame(const std::vector<std::vector<Likelihood>>& a,
                const std::vector<std::vector<Likelihood>>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    ASSERT_EQ(a[i].size(), b[i].size());
    for (size_t j = 0; j < a[i].size(); ++j) {
      EXPECT_EQ(a[i][j].log_likelihood, b[i][j].log_likelihood) << i << " " << j;
      EXPECT_EQ(a[i][j].is_greedy, b[i][j].is_greedy) << i << " " << j;
    }
  }
}

TEST(LikelihoodScorer, SumsLogProbabilitiesOfTheAskedIds) {
  SmallScorer small;
  Random random(3);
  const auto request = Request(RandomIds(random, 12), 3);
  const int64_t vocab = small.small.config.vocab_size;
  Buffer<float> buffer(12 * vocab);
  const Mat<float> logits = buffer.AsMat(12, vocab);
  Sequence sequence(small.small.model, small.experts, *small.device, kExactPath);
  sequence.Append(request.ids, logits);
  double expected = 0;
  for (int64_t t = 8; t < 11; ++t) {
    double sum = 0;
    for (const float logit : logits.row_span(t)) sum += std::exp(static_cast<double>(logit));
    expected +=
        static_cast<double>(logits.row(t)[request.ids[static_cast<size_t>(t + 1)]]) - std::log(sum);
  }
  const ItemRequests item = {request};
  EXPECT_NEAR(small.scorer.Score({&item, 1}, nullptr)[0][0].log_likelihood, expected, 1e-9);
}

TEST(LikelihoodScorer, IsGreedyWhereEveryIdIsTheLikeliest) {
  SmallScorer small;
  const int64_t vocab = small.small.config.vocab_size;
  Buffer<float> buffer(vocab);
  std::vector<int32_t> ids = {1, 40, 80};
  for (int i = 0; i < 3; ++i) {  // what the model says itself
    Sequence sequence(small.small.model, small.experts, *small.device, kExactPath);
    sequence.Append(ids, buffer.AsMat(1, vocab));
    const auto logits = buffer.span();
    ids.push_back(
        static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin()));
  }
  auto other = ids;
  other.back() = other.back() == 7 ? 8 : 7;
  const ItemRequests item = {Request(ids, 3), Request(other, 3), Request(ids, 5)};
  const auto scores = small.scorer.Score({&item, 1}, nullptr);
  EXPECT_TRUE(scores[0][0].is_greedy);
  EXPECT_FALSE(scores[0][1].is_greedy);
  EXPECT_FALSE(scores[0][2].is_greedy);
  EXPECT_GT(scores[0][0].log_likelihood, scores[0][1].log_likelihood);
}

TEST(LikelihoodScorer, SharingChangesNoBit) {
  for (const size_t prefix : {size_t{1}, size_t{30}, size_t{250}, size_t{256}, size_t{300}}) {
    SmallScorer together, alone;
    const auto items = SomeItems(prefix, 12, prefix);
    ExpectSame(together.scorer.Score(items, nullptr), alone.scorer.ScoreOneByOne(items, nullptr));
    EXPECT_LT(together.scorer.rows_run() * (prefix >= 250 ? 6 : 2), alone.scorer.rows_run());
  }
}

TEST(LikelihoodScorer, WindowsDoNotChangeWhatComesAfterThem) {
  SmallScorer windows, alone;
  // Another beginning in between, a shorter one, and the first again.
  std::vector<ItemRequests> items;
  for (const auto& part :
       {SomeItems(200, 5, 1), SomeItems(90, 4, 2), SomeItems(0, 3, 4), SomeItems(200, 5, 1)})
    items.insert(items.end(), part.begin(), part.end());
  std::vector<std::vector<Likelihood>> scores;
  for (size_t at = 0; at < items.size();) {
    const size_t size = std::min<size_t>(3, items.size() - at);
    for (auto& item : windows.scorer.Score(std::span(items).subspan(at, size), nullptr))
      scores.push_back(std::move(item));
    at += size;
  }
  ExpectSame(scores, alone.scorer.ScoreOneByOne(items, nullptr));
}

TEST(LikelihoodScorer, SeesAWindowOfTheModelAsItIs) {
  SmallScorer together(testing_model::MakeSmallModel(64)), alone(testing_model::MakeSmallModel(64));
  const auto items = SomeItems(300, 6);
  ExpectSame(together.scorer.Score(items, nullptr), alone.scorer.ScoreOneByOne(items, nullptr));
}

TEST(LikelihoodScorer, WindowsFitTheMemoryAndHoldAtLeastOneItem) {
  const auto items = SomeItems(300, 12);
  SmallScorer small(testing_model::MakeSmallModel(), 1);
  EXPECT_EQ(small.scorer.WindowSize(items), 1u);
  SmallScorer large;
  EXPECT_EQ(large.scorer.WindowSize(items), items.size());
  const auto many = SomeItems(0, 400);
  const size_t size = large.scorer.WindowSize(many);
  EXPECT_GT(size, 20u);
  EXPECT_LT(size, 200u);
}

TEST(LikelihoodScorer, TakesNoMorePagesThanItWasGiven) {
  auto items = SomeItems(260, 4, 7);
  for (const auto& part : {SomeItems(40, 3, 8), SomeItems(250, 2, 9)})
    items.insert(items.end(), part.begin(), part.end());
  int64_t least = 0;
  for (const auto& item : items) least = std::max(least, LikelihoodScorer::PagesAlone(item));
  const auto shape = testing_model::MakeSmallModel().config.kv_shape(kExactPath.kv_type);
  for (const int64_t pages : {least, 2 * least}) {
    SmallScorer bounded(testing_model::MakeSmallModel(), pages * shape.page_bytes());
    for (size_t at = 0; at < items.size();) {
      const auto rest = std::span<const ItemRequests>(items).subspan(at);
      const auto window = rest.first(bounded.scorer.WindowSize(rest));
      EXPECT_EQ(bounded.scorer.Score(window, nullptr).size(), window.size());
      at += window.size();
    }
    EXPECT_LE(bounded.scorer.kv_bytes(), pages * shape.page_bytes());
  }
}

TEST(LikelihoodScorer, RefusesIdsOutsideTheVocabulary) {
  SmallScorer small;
  const ItemRequests item = {Request({1, 2, 100000}, 1)};
  EXPECT_THROW(small.scorer.Score({&item, 1}, nullptr), Error);
}

TEST(LikelihoodScorer, CancelledItSaysNothingAndGoesOnLater) {
  SmallScorer small, alone;
  const auto items = SomeItems(50, 3);
  const std::atomic<bool> cancelled = true;
  EXPECT_TRUE(small.scorer.Score(items, &cancelled).empty());
  ExpectSame(small.scorer.Score(items, nullptr), alone.scorer.ScoreOneByOne(items, nullptr));
}

}  // namespace
}  // namespace cadre
