#include "eval/context_perplexity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/testing.h"
#include "engine/test_model.h"

namespace cadre {
namespace {

using base_testing::ErrorOf;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class ContextPerplexityTest : public ::testing::Test {
 protected:
  ContextPerplexityTest() {
    for (size_t i = 0; i < 100; ++i) ids_.push_back(static_cast<int32_t>(3 + i * i % 200));
  }
  std::vector<ContextPerplexity> Run(const std::vector<int64_t>& contexts) {
    return PerplexityByContext(scorer_, ids_, contexts, {.bos_id = 1});
  }
  // Mean of -ln p of the last `targets` of these ids.
  double Loss(std::vector<int32_t> window, int64_t targets) {
    window[0] = 1;
    const int64_t begin = std::ssize(window) - targets - 1;
    const auto logits = scorer_.Logits(window, begin, nullptr);
    double sum = 0;
    for (int64_t i = 0; i < targets; ++i) {
      double all = 0;
      for (const float logit : logits.row_span(i)) all += std::exp(static_cast<double>(logit));
      const auto target = static_cast<size_t>(window[static_cast<size_t>(begin + i + 1)]);
      sum += std::log(all) - static_cast<double>(logits.row_span(i)[target]);
    }
    return sum / static_cast<double>(targets);
  }

  testing_model::SmallModel small_ = testing_model::MakeSmallModel();
  ResidentExperts experts_{small_.model.weights};
  std::unique_ptr<Device> device_ = MakeReferenceDevice();
  WindowScorer scorer_{small_.model, experts_, *device_, kExactPath};
  std::vector<int32_t> ids_;
};

TEST_F(ContextPerplexityTest, PredictsTheSameTokensWithMoreBeforeThem) {
  const auto result = Run({8, 20, 40});
  ASSERT_THAT(result, SizeIs(3));
  for (const auto& row : result) EXPECT_EQ(row.tokens, 2 * 4);  // two windows of 40
  for (const size_t c : {size_t{0}, size_t{1}, size_t{2}}) {
    const auto context = static_cast<std::ptrdiff_t>(result[c].context);
    const auto window = [&](std::ptrdiff_t end) {
      return Loss({ids_.begin() + end - context, ids_.begin() + end}, 4);
    };
    EXPECT_NEAR(result[c].loss.mean, (window(40) + window(80)) / 2, 1e-9);
    EXPECT_NEAR(result[c].perplexity, std::exp(result[c].loss.mean), 1e-9);
  }
}

TEST_F(ContextPerplexityTest, RefusesATextThatIsTooShort) {
  EXPECT_THAT(ErrorOf([&] {
                Run({8, 101});
              }),
              HasSubstr("has 100 tokens but the longest context 101"));
  EXPECT_THAT(ErrorOf([&] { Run({3, 50}); }), HasSubstr("has 3 tokens but must have four"));
}

}  // namespace
}  // namespace cadre
