#include "eval/perplexity.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "base/error.h"
#include "engine/test_model.h"

namespace cadre {
namespace {

using testing_model::MakeSmallModel;
using testing_model::SmallModel;

// A model with all that runs it.
struct Runner {
  explicit Runner(SmallModel small_model)
      : small(std::move(small_model)),
        experts(small.model.weights),
        device(MakeReferenceDevice()),
        scorer(small.model, experts, *device, kExactPath) {}

  Mat<const float> LogitsOf(std::span<const int32_t> ids) {
    logits.Resize(std::ssize(ids) * small.config.vocab_size);
    const Mat<float> rows(logits.data(), std::ssize(ids), small.config.vocab_size);
    Sequence sequence(small.model, experts, *device, kExactPath);
    sequence.Append(ids, rows);
    return rows;
  }

  SmallModel small;
  ResidentExperts experts;
  std::unique_ptr<Device> device;
  WindowScorer scorer;
  Buffer<float> logits;
};

std::vector<int32_t> SomeIds(size_t count) {
  std::vector<int32_t> ids(count);
  for (size_t i = 0; i < count; ++i) ids[i] = static_cast<int32_t>(3 + i * i % 200);
  return ids;
}

double LogProbability(std::span<const float> logits, size_t id) {
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit));
  return static_cast<double>(logits[id]) - std::log(sum);
}

TEST(Perplexity, OfAModelThatKnowsNothingIsTheVocabulary) {
  SmallModel small = MakeSmallModel();
  const int64_t vocab = small.config.vocab_size;
  const int64_t head = vocab * small.config.dim;
  std::fill_n(const_cast<float*>(reinterpret_cast<const float*>(small.model.weights.head.data)),
              head, 0.0f);
  Runner runner(std::move(small));
  const auto result = Perplexity(runner.scorer, nullptr, SomeIds(40), {.context = 16});
  EXPECT_NEAR(result.perplexity, static_cast<double>(vocab), 1e-9 * static_cast<double>(vocab));
  EXPECT_NEAR(result.perplexity_error, 0, 1e-9);
  EXPECT_EQ(result.tokens, 2 * (16 - 1 - 8));  // of two windows; eight ids are left over
}

TEST(Perplexity, IsThatOfTheSecondHalfOfEachWindow) {
  Runner runner(MakeSmallModel());
  const auto ids = SomeIds(25);
  constexpr int kWindow = 12;
  double loss = 0;
  int64_t count = 0;
  for (int w = 0; w < 2; ++w) {
    std::vector<int32_t> window(ids.begin() + w * kWindow, ids.begin() + (w + 1) * kWindow);
    window[0] = 1;
    const auto logits = runner.LogitsOf(window);
    for (int64_t t = kWindow / 2; t + 1 < kWindow; ++t, ++count)
      loss -= LogProbability(logits.row_span(t), static_cast<size_t>(window[size_t(t) + 1]));
  }
  const auto result = Perplexity(runner.scorer, nullptr, ids, {.context = kWindow, .bos_id = 1});
  EXPECT_EQ(result.tokens, count);
  EXPECT_NEAR(result.loss.mean, loss / static_cast<double>(count), 1e-9);
  EXPECT_NEAR(result.perplexity, std::exp(loss / static_cast<double>(count)), 1e-6);
  EXPECT_GT(result.perplexity_error, 0);
}

TEST(Perplexity, AgainstItselfIsNoDivergence) {
  Runner runner(MakeSmallModel());
  Runner same(MakeSmallModel());
  const auto result = Perplexity(runner.scorer, &same.scorer, SomeIds(64), {.context = 32});
  EXPECT_EQ(result.kl.mean, 0);
  EXPECT_EQ(result.kl_max, 0);
  EXPECT_EQ(result.top1_agreement.mean, 1);
  EXPECT_EQ(result.perplexity, result.reference_perplexity);
  EXPECT_EQ(result.routing_agreement, std::vector<double>(2, 1.0));
}

TEST(Perplexity, AgainstAnotherIsTheDivergenceFromIt) {
  Runner runner(MakeSmallModel());
  Runner other(MakeSmallModel(0, 8));
  const auto ids = SomeIds(16);
  const auto logits = runner.LogitsOf(ids);
  const auto reference = other.LogitsOf(ids);
  double sum = 0, max = 0, top1 = 0;
  for (int64_t t = 8; t < 15; ++t) {
    double kl = 0;
    for (size_t v = 0; v < logits.row_span(t).size(); ++v) {
      const double log_p = LogProbability(reference.row_span(t), v);
      kl += std::exp(log_p) * (log_p - LogProbability(logits.row_span(t), v));
    }
    sum += kl;
    max = std::max(max, kl);
    const auto a = logits.row_span(t), b = reference.row_span(t);
    top1 += std::max_element(a.begin(), a.end()) - a.begin() ==
            std::max_element(b.begin(), b.end()) - b.begin();
  }
  const auto result = Perplexity(runner.scorer, &other.scorer, ids, {.context = 16});
  EXPECT_NEAR(result.kl.mean, sum / 7, 1e-6 * sum);
  EXPECT_NEAR(result.kl_max, max, 1e-6 * max);
  EXPECT_GT(result.kl.mean, 0);
  EXPECT_NEAR(result.top1_agreement.mean, top1 / 7, 1e-12);
  // Routers of two models that know nothing of each other: two of four in common half of the time.
  ASSERT_EQ(result.routing_agreement.size(), 2u);
  for (const double agreement : result.routing_agreement) {
    EXPECT_GT(agreement, 0.1);
    EXPECT_LT(agreement, 0.9);
  }
}

TEST(Perplexity, ComparesRoutersOnlyWhereBothHaveThem) {
  Runner runner(MakeSmallModel());
  SmallModel fewer = MakeSmallModel();
  fewer.config.num_layers = 1;
  fewer.model.config.num_layers = 1;
  fewer.model.weights.layers.resize(1);
  Runner other(std::move(fewer));
  const auto result = Perplexity(runner.scorer, &other.scorer, SomeIds(16), {.context = 16});
  EXPECT_TRUE(result.routing_agreement.empty());
  EXPECT_GT(result.kl.mean, 0);
}

TEST(Perplexity, RefusesWhatCannotBeMeasured) {
  Runner runner(MakeSmallModel());
  EXPECT_THROW(Perplexity(runner.scorer, nullptr, SomeIds(3), {}), Error);
  EXPECT_THROW(Perplexity(runner.scorer, nullptr, SomeIds(30), {.context = 3}), Error);
  SmallModel smaller = MakeSmallModel();
  smaller.config.vocab_size -= 1;
  smaller.model.config.vocab_size -= 1;
  Runner other(std::move(smaller));
  EXPECT_THROW(Perplexity(runner.scorer, &other.scorer, SomeIds(30), {}), Error);
}

TEST(Perplexity, StopsWhenCancelled) {
  Runner runner(MakeSmallModel());
  const std::atomic<bool> cancelled = true;
  const auto result =
      Perplexity(runner.scorer, nullptr, SomeIds(30), {.context = 16, .cancelled = &cancelled});
  EXPECT_EQ(result.tokens, 0);
}

}  // namespace
}  // namespace cadre
