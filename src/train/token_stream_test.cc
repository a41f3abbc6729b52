#include "train/token_stream.h"

#include <gtest/gtest.h>

#include "base/atomic_file.h"
#include "base/json.h"
#include "base/testing.h"
#include "text/testing.h"

namespace cadre {
namespace {

using base_testing::TempFolder;

// Two data sets: documents of "a..." and of "b...", the latter eight times as long.
class Stream : public ::testing::Test {
 protected:
  Stream() {
    std::string short_lines, long_lines;
    for (int i = 0; i < 60; ++i) {
      short_lines += Json{{"text", fmt::format("{} a a a", i)}}.dump() + "\n";
      std::string text = fmt::format("{}", i);
      for (int k = 0; k < 24; ++k) text += " b";
      long_lines += Json{{"text", text}}.dump() + "\n";
    }
    WriteFileAtomically(folder_ / "a.jsonl", short_lines);
    WriteFileAtomically(folder_ / "b.jsonl", long_lines);
    a_.emplace(std::vector<std::string>{folder_ / "a.jsonl"}, tokenizer_, 64, threads_);
    b_.emplace(std::vector<std::string>{folder_ / "b.jsonl"}, tokenizer_, 64, threads_);
  }

  TokenStream Mixed(double a, double b, int64_t batch_tokens = 50, uint64_t seed = 3) const {
    return TokenStream({{"a", &*a_, a}, {"b", &*b_, b}}, batch_tokens, seed);
  }
  static std::vector<int32_t> Ids(TokenStream& stream, int64_t step, int64_t micro_tokens = 1000) {
    std::vector<TrainingBatch> batches;
    stream.FillBatches(step, micro_tokens, batches);
    std::vector<int32_t> ids;
    for (const auto& batch : batches) ids.insert(ids.end(), batch.ids.begin(), batch.ids.end());
    return ids;
  }

  Tokenizer tokenizer_{testing::TinyVocabulary(), "tiny"};
  ThreadPool threads_{1};
  TempFolder folder_;
  std::optional<Dataset> a_, b_;
};

TEST_F(Stream, SharesTokensByWeightHoweverLongDocumentsAre) {
  TokenStream even = Mixed(1, 1), mostly_a = Mixed(9, 1);
  Ids(even, 999);
  Ids(mostly_a, 999);
  // 50 000 tokens of segments of about 8 and 28: a few hundred tokens are a deviation.
  EXPECT_NEAR(static_cast<double>(even.TokensOf(0)), 25'000, 2500);
  EXPECT_NEAR(static_cast<double>(mostly_a.TokensOf(0)), 45'000, 2500);
  EXPECT_EQ(even.TokensOf(0) + even.TokensOf(1), 50'000);
}

TEST_F(Stream, WithoutWeightsSharesTokensByWhatThereIs) {
  TokenStream stream = Mixed(0, 0);
  Ids(stream, 999);
  const auto a = static_cast<double>(a_->tokens_per_epoch());
  const auto b = static_cast<double>(b_->tokens_per_epoch());
  EXPECT_NEAR(static_cast<double>(stream.TokensOf(0)), 50'000 * a / (a + b), 2500);
}

TEST_F(Stream, StepsAreAFunctionOfTheirNumber) {
  TokenStream forward = Mixed(2, 1), jumping = Mixed(2, 1), other = Mixed(2, 1, 50, 4);
  std::vector<std::vector<int32_t>> steps;
  for (int64_t step = 0; step < 40; ++step) {
    steps.push_back(Ids(forward, step));
    EXPECT_EQ(steps.back().size(), 50u);
  }
  for (const int64_t step : {39, 7, 8, 8, 0, 31})
    EXPECT_EQ(Ids(jumping, step), steps[static_cast<size_t>(step)]) << step;
  EXPECT_NE(Ids(other, 0), steps[0]);
}

TEST_F(Stream, PartsHoldTheWholeStepInItsOrder) {
  TokenStream whole = Mixed(1, 1), parts = Mixed(1, 1);
  for (int64_t step = 0; step < 10; ++step) {
    EXPECT_EQ(Ids(parts, step, 30), Ids(whole, step));
    std::vector<TrainingBatch> batches;
    parts.FillBatches(step, 30, batches);
    EXPECT_GT(batches.size(), 1u);
    for (const auto& batch : batches) EXPECT_LE(batch.ids.size(), 30u);
  }
}

TEST_F(Stream, SequencesAreOfOneSourceEach) {
  TokenStream stream = Mixed(1, 1);
  std::vector<TrainingBatch> batches;
  int64_t starts = 0, rows = 0;
  for (int64_t step = 0; step < 20; ++step) {
    stream.FillBatches(step, 1000, batches);
    for (size_t i = 0; i < batches[0].ids.size(); ++i) {
      starts += batches[0].positions[i] == 0;
      if (batches[0].positions[i] > 0) {
        EXPECT_EQ(batches[0].ids[i], batches[0].targets[i - 1]);
        EXPECT_EQ(batches[0].sequence_of_row[i], batches[0].sequence_of_row[i - 1]);
      }
      ++rows;
    }
  }
  EXPECT_EQ(rows, 1000);
  EXPECT_GT(starts, 20);
}

}  // namespace
}  // namespace cadre
