#include "store/expert_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/testing.h"
#include "store/testing.h"

namespace cadre {
namespace {

using base_testing::ErrorOf;
using store_testing::Faults;
using store_testing::FaultyIo;
using store_testing::ModelFile;
using store_testing::Replay;
using store_testing::TraceStep;
using ::testing::HasSubstr;

const std::vector<int32_t> kIds = {1, 17, 33, 5, 5, 29, 2, 11, 8, 30, 31, 7, 9, 9, 21, 14};

// Writes down what is needed.
class Recorder : public ExpertSource {
 public:
  Recorder(ExpertSource& source, std::vector<TraceStep>& trace) : source_(source), trace_(trace) {}
  void Settle(int64_t layer, const RouterConfig& config, Routing& routing) override {
    source_.Settle(layer, config, routing);
  }
  void Plan(int64_t layer, std::span<int32_t> needed) override {
    trace_.push_back({layer, {needed.begin(), needed.end()}});
    source_.Plan(layer, needed);
  }
  const ExpertWeights& Acquire(int64_t layer, int64_t expert) override {
    return source_.Acquire(layer, expert);
  }
  void Release(int64_t layer, int64_t expert) override { source_.Release(layer, expert); }
  bool wants_guesses() const override { return source_.wants_guesses(); }
  void Guess(int64_t layer, std::span<const int32_t> experts) override {
    source_.Guess(layer, experts);
  }

 private:
  ExpertSource& source_;
  std::vector<TraceStep>& trace_;
};

class ExpertStoreTest : public ::testing::Test {
 protected:
  ExpertStore& Store(const ExpertStoreConfig& config) {
    store_.reset();
    loader_ = std::make_unique<Loader>(files_, std::make_unique<FaultyIo>(faults_, 4), *device_,
                                       LoaderOptions{.piece_bytes = 6 * 4096, .depth = 4});
    store_ = std::make_unique<ExpertStore>(file_.model(), files_, *device_, KeptForm::kStored,
                                           *loader_, config);
    return *store_;
  }

  // [ids, vocab], a prompt of `prompt` ids at once and then one by one.
  std::vector<float> Logits(ExpertSource& experts, int64_t prompt) {
    const Model& model = file_.model();
    KvPagePool pool(model.config.kv_shape(KvType::kF32));
    KvCache cache(pool);
    cache.Reserve(std::ssize(kIds));
    const KvSequence sequence = cache.view();
    Activations activations(model.config, Activations::Keep::kOneLayer);
    const int64_t vocab = model.config.vocab_size;
    std::vector<float> logits(kIds.size() * static_cast<size_t>(vocab));
    for (int64_t begin = 0; begin < std::ssize(kIds);) {
      const int64_t end = begin == 0 ? prompt : begin + 1;
      std::vector<int64_t> positions(static_cast<size_t>(end - begin)), wanted(positions.size());
      std::iota(positions.begin(), positions.end(), begin);
      std::iota(wanted.begin(), wanted.end(), 0);
      const std::vector<int32_t> sequence_of_row(positions.size(), 0);
      const Batch batch{
          .ids = std::span(kIds).subspan(static_cast<size_t>(begin), positions.size()),
          .positions = positions,
          .sequence_of_row = sequence_of_row,
          .sequences = {&sequence, 1},
          .kv_type = KvType::kF32,
          .wanted_rows = wanted,
          .router_limits = {}};
      Forward(model, experts, *device_, batch, {}, activations,
              {logits.data() + begin * vocab, end - begin, vocab});
      begin = end;
    }
    return logits;
  }
  std::vector<float> Expected(int64_t prompt) {
    ResidentExperts resident(file_.model().weights);
    return Logits(resident, prompt);
  }

  ModelFile file_;
  WeightFiles files_{file_.loaded().checkpoint()};
  std::unique_ptr<Device> device_ = MakeReferenceDevice();
  Faults faults_;
  std::unique_ptr<Loader> loader_;
  std::unique_ptr<ExpertStore> store_;
};

TEST_F(ExpertStoreTest, GivesTheSameBitsWithAnyNumberOfSlots) {
  for (const int64_t prompt : {1, 9, 16}) {
    const auto expected = Expected(prompt);
    for (const int64_t slots : {1, 2, 3, 7, 18}) {
      for (const int64_t guesses : {0, 1, 3}) {
        ExpertStore& store = Store({.slots = slots, .guesses = guesses});
        EXPECT_TRUE(Logits(store, prompt) == expected) << slots << " slots, " << guesses;
        EXPECT_TRUE(Logits(store, prompt) == expected) << "again";
      }
    }
  }
}

TEST_F(ExpertStoreTest, HitsAreThoseOfAReplayOfTheTraceWithGuessesAndWithout) {
  for (const CachePolicy policy : {CachePolicy::kLru, CachePolicy::kFrequency}) {
    for (const int64_t slots : {2, 3, 7, 11}) {
      for (const int64_t guesses : {0, 2}) {
        ExpertStore& store = Store({.slots = slots, .guesses = guesses, .policy = policy});
        std::vector<TraceStep> trace;
        Recorder recorder(store, trace);
        Logits(recorder, 1);
        Logits(recorder, 1);
        Replay replay(3, static_cast<size_t>(slots), policy);
        for (const auto& step : trace) replay.Run(step);
        const auto sum = store.stats().Sum();
        EXPECT_EQ(sum.hits, replay.hits()) << slots << " slots, " << guesses << " guesses";
        EXPECT_EQ(sum.misses, replay.misses());
      }
    }
  }
}

TEST_F(ExpertStoreTest, APromptReadsEachExpertOnce) {
  for (const int64_t slots : {1, 2, 5}) {
    ExpertStore& store = Store({.slots = slots});
    std::vector<TraceStep> trace;
    Recorder recorder(store, trace);
    Logits(recorder, 16);
    int64_t needed = 0;
    for (const auto& step : trace) needed += std::ssize(step.experts);
    const auto sum = store.stats().Sum();
    EXPECT_EQ(sum.hits + sum.misses, needed);
    const int64_t pieces = 4 + 4 + 4;  // 64 of 200 rows of w1 and w3, 16 of 64 rows of w2
    EXPECT_EQ(faults_.reads.exchange(0), sum.misses * pieces);
  }
}

TEST_F(ExpertStoreTest, CountsWhatWasForeseen) {
  ExpertStore& store = Store({.slots = 4, .guesses = 2});
  Logits(store, 1);
  const ExpertStats stats = store.stats();
  EXPECT_EQ(stats.slots, 4);
  EXPECT_GT(stats.bytes_read, 0);
  EXPECT_EQ(stats.layers[0].foreseen + stats.layers[0].unforeseen, 0);  // nothing goes before it
  for (const size_t l : {size_t{1}, size_t{2}}) {
    EXPECT_EQ(stats.layers[l].foreseen + stats.layers[l].unforeseen,
              stats.layers[l].hits + stats.layers[l].misses);
    EXPECT_GT(stats.layers[l].foreseen, 0);
    EXPECT_LE(stats.layers[l].begun, stats.layers[l].misses);
  }
}

TEST_F(ExpertStoreTest, AFailedReadEndsTheStepAndTheNextGoesOn) {
  for (const int64_t guesses : {0, 2}) {
    ExpertStore& store = Store({.slots = 3, .guesses = guesses});
    const auto expected = Expected(9);
    faults_.error = EIO;
    EXPECT_THAT(ErrorOf([&] { Logits(store, 9); }), HasSubstr("cannot be read at byte"));
    EXPECT_THAT(ErrorOf([&] { Logits(store, 9); }), HasSubstr("cannot be read at byte"));
    faults_.error = 0;
    EXPECT_TRUE(Logits(store, 9) == expected);
  }
}

TEST_F(ExpertStoreTest, WaitsForASlowDisk) {
  ExpertStore& store = Store({.slots = 2, .guesses = 1});
  faults_.delay_ms = 1;
  EXPECT_TRUE(Logits(store, 14) == Expected(14));
  EXPECT_GT(store.stats().stall_s, 0);
}

TEST_F(ExpertStoreTest, AnExpertThatNobodyPlannedIsFetched) {
  ExpertStore& store = Store({.slots = 1});
  const ExpertWeights& w = store.Acquire(1, 4);
  const ExpertWeights& there = file_.model().weights.layers[1].experts[4];
  EXPECT_EQ(std::memcmp(w.w2.data, there.w2.data, static_cast<size_t>(w.w2.bytes())), 0);
  store.Release(1, 4);
}

}  // namespace
}  // namespace cadre
