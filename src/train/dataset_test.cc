#include "train/dataset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "base/atomic_file.h"
#include "base/json.h"
#include "base/testing.h"
#include "text/testing.h"
#include "train/token_stream.h"

namespace cadre {
namespace {

using base_testing::ErrorOf;
using base_testing::TempFolder;
using Pair = std::pair<int32_t, int32_t>;  // input, target

class DatasetTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { tokenizer_ = new Tokenizer(testing::TinyVocabulary(), "tiny"); }
  static void TearDownTestSuite() { delete tokenizer_; }

  DatasetTest() {
    std::string lines;
    const auto corpus = testing::TinyCorpus();
    for (size_t i = 0; i < 12; ++i) {
      documents_.push_back(
          fmt::format("{} {}", i, corpus[i % corpus.size()].substr(0, 10 + 7 * i)));
      lines +=
          Json{{"text", documents_.back()}}.dump(-1, ' ', false, Json::error_handler_t::replace) +
          "\n";
    }
    WriteFileAtomically(folder_ / "a.jsonl", lines);
    documents_.emplace_back("one text file");
    WriteFileAtomically(folder_ / "b.txt", documents_.back());
    for (auto& document :
         documents_) {  // a character cut in two is replaced on the way through JSON
      document = Json::parse(Json(document).dump(-1, ' ', false, Json::error_handler_t::replace))
                     .get<std::string>();
    }
  }

  Dataset Open(int64_t segment_tokens) {
    return Dataset({folder_ / "a.jsonl", folder_ / "b.txt"}, *tokenizer_, segment_tokens, threads_);
  }

  // BOS document EOS
  std::vector<int32_t> Tokens(const std::string& document) const {
    std::vector<int32_t> tokens = tokenizer_->Encode(document);
    tokens.insert(tokens.begin(), tokenizer_->bos_id());
    tokens.push_back(tokenizer_->eos_id());
    return tokens;
  }
  // Every input with its target, and how often.
  std::map<Pair, int> AllPairs() const {
    std::map<Pair, int> pairs;
    for (const auto& document : documents_) {
      const auto tokens = Tokens(document);
      for (size_t i = 0; i + 1 < tokens.size(); ++i) ++pairs[{tokens[i], tokens[i + 1]}];
    }
    return pairs;
  }
  static std::map<Pair, int> Count(const std::vector<Pair>& pairs) {
    std::map<Pair, int> counts;
    for (const auto& pair : pairs) ++counts[pair];
    return counts;
  }
  // A step of the endless stream of one data set, in one batch.
  static TrainingBatch Step(const Dataset& data, int64_t step, int64_t batch_tokens,
                            uint64_t seed) {
    std::vector<TrainingBatch> batches;
    TokenStream({{"all", &data}}, batch_tokens, seed).FillBatches(step, 1 << 20, batches);
    return batches.at(0);
  }
  // The first `count` pairs of the endless stream.
  static std::vector<Pair> Stream(const Dataset& data, int64_t count, int64_t batch_tokens,
                                  uint64_t seed) {
    std::vector<Pair> stream;
    TokenStream tokens({{"all", &data}}, batch_tokens, seed);
    std::vector<TrainingBatch> batches;
    for (int64_t step = 0; std::ssize(stream) < count; ++step) {
      tokens.FillBatches(step, 1 << 20, batches);
      for (size_t i = 0; i < batches.at(0).ids.size(); ++i)
        stream.emplace_back(batches[0].ids[i], batches[0].targets[i]);
    }
    stream.resize(static_cast<size_t>(count));
    return stream;
  }

  static inline const Tokenizer* tokenizer_ = nullptr;
  ThreadPool threads_{2};
  TempFolder folder_;
  std::vector<std::string> documents_;
};

TEST_F(DatasetTest, CountsWhatItHolds) {
  const Dataset data = Open(16);
  EXPECT_EQ(data.num_documents(), 13);
  int64_t targets = 0, bytes = 0;
  for (const auto& document : documents_) {
    targets += std::ssize(Tokens(document)) - 1;
    bytes += std::ssize(document);
  }
  EXPECT_EQ(data.tokens_per_epoch(), targets);
  EXPECT_EQ(data.text_bytes(), bytes);
}

TEST_F(DatasetTest, BatchesHaveExactlyTheTokensAskedFor) {
  const Dataset data = Open(16);
  for (const int64_t batch_tokens : {1, 7, 64, 5000}) {
    for (int64_t step = 0; step < 5; ++step) {
      const TrainingBatch batch = Step(data, step, batch_tokens, 3);
      ASSERT_EQ(std::ssize(batch.ids), batch_tokens);
      ASSERT_EQ(std::ssize(batch.targets), batch_tokens);
      ASSERT_EQ(std::ssize(batch.positions), batch_tokens);
      ASSERT_EQ(std::ssize(batch.sequence_of_row), batch_tokens);
      for (const int32_t target : batch.targets) EXPECT_GE(target, 0);
    }
  }
}

TEST_F(DatasetTest, SequencesStartAtPositionZeroAndRunOn) {
  const Dataset data = Open(16);
  for (int64_t step = 0; step < 20; ++step) {
    const TrainingBatch batch = Step(data, step, 50, 3);
    int32_t sequence = -1;
    for (size_t i = 0; i < batch.ids.size(); ++i) {
      if (batch.positions[i] == 0) {
        EXPECT_EQ(batch.sequence_of_row[i], ++sequence);
      } else {
        EXPECT_EQ(batch.sequence_of_row[i], sequence);
        EXPECT_EQ(batch.positions[i], batch.positions[i - 1] + 1);
        EXPECT_EQ(batch.ids[i], batch.targets[i - 1]);
        EXPECT_LT(batch.positions[i], 16);
      }
    }
    EXPECT_EQ(batch.num_sequences, sequence + 1);
  }
}

TEST_F(DatasetTest, EveryTargetOfAnEpochAppearsOnce) {
  for (const int64_t segment_tokens : {1, 5, 16, 1000}) {
    const Dataset data = Open(segment_tokens);
    const int64_t epoch = data.tokens_per_epoch();
    const auto expected = AllPairs();
    const auto stream = Stream(data, 3 * epoch, 37, 1);  // batches that cut segments and epochs
    for (int64_t e = 0; e < 3; ++e) {
      EXPECT_EQ(Count({stream.begin() + e * epoch, stream.begin() + (e + 1) * epoch}), expected)
          << segment_tokens << " " << e;
    }
  }
}

TEST_F(DatasetTest, EpochsAndSeedsHaveOrdersOfTheirOwn) {
  const Dataset data = Open(16);
  const int64_t epoch = data.tokens_per_epoch();
  const auto one = Stream(data, 2 * epoch, 64, 1), two = Stream(data, 2 * epoch, 64, 2);
  EXPECT_NE(std::vector<Pair>(one.begin(), one.begin() + epoch),
            std::vector<Pair>(one.begin() + epoch, one.end()));
  EXPECT_NE(one, two);
}

TEST_F(DatasetTest, BatchesAreAFunctionOfStepAndSeedAlone) {
  const Dataset data = Open(16);
  const auto fill = [&](int64_t step, uint64_t seed) {
    const TrainingBatch batch = Step(data, step, 64, seed);
    return std::tuple(batch.ids, batch.targets, batch.positions, batch.sequence_of_row);
  };
  const int64_t far = 5 * data.tokens_per_epoch() / 64;
  const auto first = fill(0, 1), other_seed = fill(0, 2), later = fill(far, 1);
  EXPECT_EQ(fill(far, 1), later);
  EXPECT_EQ(fill(0, 1), first);
  EXPECT_EQ(fill(0, 2), other_seed);
  EXPECT_NE(first, other_seed);
  const Dataset again = Open(16);
  EXPECT_EQ(Step(again, far, 64, 1).ids, std::get<0>(later));
}

TEST_F(DatasetTest, TheStreamDoesNotDependOnTheBatchSize) {
  const Dataset data = Open(16);
  const int64_t count = 2 * data.tokens_per_epoch();
  EXPECT_EQ(Stream(data, count, 11, 1), Stream(data, count, 256, 1));
}

TEST_F(DatasetTest, TokensDoNotDependOnThreads) {
  const Dataset data = Open(16);
  ThreadPool one(1);
  const Dataset alone({folder_ / "a.jsonl", folder_ / "b.txt"}, *tokenizer_, 16, one);
  EXPECT_EQ(Stream(data, 500, 64, 1), Stream(alone, 500, 64, 1));
}

TEST_F(DatasetTest, ValidationGoesThroughEverythingInOrder) {
  const Dataset data = Open(16);
  std::vector<Pair> pairs;
  TrainingBatch batch;
  for (size_t segment = 0; segment < data.num_segments();) {
    const size_t next = data.FillInOrder(segment, 40, batch);
    ASSERT_GT(next, segment);
    ASSERT_LE(batch.ids.size(), 40u);
    segment = next;
    for (size_t i = 0; i < batch.ids.size(); ++i)
      pairs.emplace_back(batch.ids[i], batch.targets[i]);
  }
  std::vector<Pair> expected;
  for (const auto& document : documents_) {
    const auto tokens = Tokens(document);
    for (size_t i = 0; i + 1 < tokens.size(); ++i) expected.emplace_back(tokens[i], tokens[i + 1]);
  }
  EXPECT_EQ(pairs, expected);
}

TEST_F(DatasetTest, ASegmentLongerThanAValidationBatchComesAlone) {
  const Dataset data = Open(1000);
  TrainingBatch batch;
  EXPECT_EQ(data.FillInOrder(0, 1, batch), 1u);
  EXPECT_GT(batch.ids.size(), 1u);
}

TEST_F(DatasetTest, FilesWithoutTextAreRefused) {
  WriteFileAtomically(folder_ / "empty.txt", "");
  EXPECT_THAT(ErrorOf([&] { Dataset({folder_ / "empty.txt"}, *tokenizer_, 16, threads_); }),
              ::testing::HasSubstr("empty.txt: holds no text"));
  EXPECT_THAT(ErrorOf([&] { Dataset({}, *tokenizer_, 16, threads_); }),
              ::testing::HasSubstr("holds no text"));
}

}  // namespace
}  // namespace cadre
