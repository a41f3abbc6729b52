// A store that does not always wait for the disk.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/testing.h"
#include "store/expert_store.h"
#include "store/testing.h"

namespace cadre {
namespace {

using base_testing::ErrorOf;
using store_testing::Faults;
using store_testing::FaultyIo;
using store_testing::ModelFile;
using ::testing::HasSubstr;

const std::vector<int32_t> kIds = {1, 17, 33, 5, 5, 29, 2, 11, 8, 30, 31, 7, 9, 9, 21, 14};

// Anything that is not there goes without, as soon as reading has been measured.
constexpr MissPolicy kNeverWait = {.on_miss = OnMiss::kLowBit, .most_wait_s = 0, .most_gate = 1};

class MissesTest : public ::testing::Test {
 protected:
  ~MissesTest() override { faults_.Open(); }

  ExpertStore& Store(const ExpertStoreConfig& config) {
    store_.reset();
    loader_ = std::make_unique<Loader>(files_, std::make_unique<FaultyIo>(faults_, 4), *device_,
                                       LoaderOptions{.piece_bytes = 6 * 4096, .depth = 4});
    store_ = std::make_unique<ExpertStore>(file_.model(), files_, *device_, KeptForm::kStored,
                                           *loader_, config);
    return *store_;
  }
  // The same with all experts in the form of the copy.
  ExpertStore& WithCopy(const ModelFile& copy, ExpertStoreConfig config) {
    copies_.push_back(std::make_unique<LowBitExperts>(
        copy.loaded(), file_.model(), KeptForm::kStored, *device_, *device_, MakeDiskIo(4),
        LoaderOptions{.piece_bytes = 6 * 4096, .depth = 4}));
    config.low_bit = copies_.back().get();
    return Store(config);
  }

  // [ids, vocab], id by id. given: [ids][layers, k], the experts to use; empty: routers choose.
  std::vector<float> Logits(ExpertSource& experts, std::vector<std::vector<int32_t>>* chosen,
                            const std::vector<std::vector<int32_t>>& given = {}) {
    const Model& model = file_.model();
    KvPagePool pool(model.config.kv_shape(KvType::kF32));
    KvCache cache(pool);
    cache.Reserve(std::ssize(kIds));
    const KvSequence sequence = cache.view();
    Activations activations(model.config, Activations::Keep::kOneLayer);
    const int64_t vocab = model.config.vocab_size;
    std::vector<float> logits(kIds.size() * static_cast<size_t>(vocab));
    const int32_t no_sequence = 0;
    const int64_t wanted = 0;
    const RoutingObserver observer = [&](int64_t, const Routing& routing) {
      const auto row = routing.experts.row_span(0);
      if (chosen != nullptr) chosen->back().insert(chosen->back().end(), row.begin(), row.end());
    };
    for (int64_t i = 0; i < std::ssize(kIds); ++i) {
      if (chosen != nullptr) chosen->emplace_back();
      Batch batch{.ids = std::span(kIds).subspan(static_cast<size_t>(i), 1),
                  .positions = {&i, 1},
                  .sequence_of_row = {&no_sequence, 1},
                  .sequences = {&sequence, 1},
                  .kv_type = KvType::kF32,
                  .wanted_rows = {&wanted, 1},
                  .router_limits = {}};
      if (!given.empty()) batch.given_experts = given[static_cast<size_t>(i)];
      Forward(model, experts, *device_, batch, {.observer = &observer, .dropout = {}}, activations,
              {logits.data() + i * vocab, 1, vocab});
    }
    return logits;
  }
  std::vector<float> Expected() {
    ResidentExperts resident(file_.model().weights);
    return Logits(resident, nullptr);
  }
  int64_t NumChoices() const {
    return std::ssize(kIds) * file_.model().config.num_layers * file_.model().config.router.top_k;
  }

  ModelFile file_;
  WeightFiles files_{file_.loaded().checkpoint()};
  std::unique_ptr<Device> device_ = MakeReferenceDevice();
  Faults faults_;
  std::vector<std::unique_ptr<LowBitExperts>> copies_;
  std::unique_ptr<Loader> loader_;
  std::unique_ptr<ExpertStore> store_;
};

TEST_F(MissesTest, WaitingCountsChoicesAndIsExact) {
  ExpertStore& store = Store({.slots = 3});
  EXPECT_TRUE(Logits(store, nullptr) == Expected());
  const auto sum = store.stats().Sum();
  EXPECT_EQ(sum.choices, NumChoices());
  EXPECT_EQ(sum.low_bit + sum.next_best, 0);
}

// The "copy" has all its bits: what is computed with it is what would have been computed.
TEST_F(MissesTest, ACopyStandsInForWhatIsNotThere) {
  const ModelFile same;
  const auto expected = Expected();
  for (const int64_t slots : {1, 2, 5, 12}) {
    for (const int64_t guesses : {0, 2}) {
      ExpertStore& store =
          WithCopy(same, {.slots = slots, .guesses = guesses, .misses = kNeverWait});
      for (int i = 0; i < 3; ++i) EXPECT_TRUE(Logits(store, nullptr) == expected) << slots;
      const auto sum = store.stats().Sum();
      EXPECT_EQ(sum.choices, 3 * NumChoices());
      EXPECT_GT(sum.low_bit, 0);
      EXPECT_LT(sum.low_bit, sum.choices);
      EXPECT_EQ(sum.next_best, 0);
    }
  }
}

TEST_F(MissesTest, NothingWaitsForADiskThatStandsStill) {
  const ModelFile same;
  ExpertStore& store = WithCopy(same, {.slots = 4, .guesses = 2, .misses = kNeverWait});
  Logits(store, nullptr);
  faults_.Close();
  EXPECT_TRUE(Logits(store, nullptr) == Expected());
}

TEST_F(MissesTest, ACopyInFewerBitsIsNotExact) {
  const ModelFile fewer(DType::kQ8_0);
  ExpertStore& store = WithCopy(fewer, {.slots = 2, .misses = kNeverWait});
  Logits(store, nullptr);
  EXPECT_FALSE(Logits(store, nullptr) == Expected());
}

TEST_F(MissesTest, ExpertsThatWereGivenUpAreThereLater) {
  const ModelFile same;
  ExpertStore& store = WithCopy(same, {.slots = 18, .misses = kNeverWait});
  for (int i = 0; i < 1000; ++i) {  // until all have been read
    const int64_t before = store.stats().Sum().low_bit;
    Logits(store, nullptr);
    if (store.stats().Sum().low_bit == before) return;
  }
  FAIL() << "copies are still used";
}

TEST_F(MissesTest, ChoicesOfMuchWeightAndShortReadsAreWaitedFor) {
  const ModelFile fewer(DType::kQ8_0);
  const auto expected = Expected();
  MissPolicy policy = kNeverWait;
  policy.most_gate = 0;
  EXPECT_TRUE(Logits(WithCopy(fewer, {.slots = 2, .misses = policy}), nullptr) == expected);
  policy = kNeverWait;
  policy.most_wait_s = 1000;
  EXPECT_TRUE(Logits(WithCopy(fewer, {.slots = 2, .misses = policy}), nullptr) == expected);
  policy = kNeverWait;
  policy.most_gate = 0.5f;  // the second choices
  ExpertStore& store = WithCopy(fewer, {.slots = 1, .misses = policy});
  for (int i = 0; i < 3; ++i) Logits(store, nullptr);
  const auto sum = store.stats().Sum();
  EXPECT_GT(sum.low_bit, 0);
  EXPECT_LE(sum.low_bit, sum.choices / 2);
}

// What ran is what a model does that is told to use these experts.
TEST_F(MissesTest, TheNextBestRunsAsIfTheRouterHadChosenIt) {
  MissPolicy policy = kNeverWait;
  policy.on_miss = OnMiss::kNextBest;
  for (const int64_t slots : {1, 4, 8, 18}) {
    for (const int64_t guesses : {0, 2}) {
      ExpertStore& store = Store({.slots = slots, .guesses = guesses, .misses = policy});
      std::vector<std::vector<int32_t>> chosen;
      Logits(store, nullptr);
      const auto before = store.stats().Sum();
      const auto logits = Logits(store, &chosen);
      ResidentExperts resident(file_.model().weights);
      EXPECT_TRUE(logits == Logits(resident, nullptr, chosen)) << slots << " slots";
      const auto sum = store.stats().Sum();
      EXPECT_EQ(sum.choices - before.choices, NumChoices());
      EXPECT_EQ(sum.low_bit, 0);
      if (slots == 8) {
        EXPECT_GT(sum.next_best, 0);
      }
      if (sum.next_best == 0) {
        EXPECT_TRUE(logits == Expected());
      }
    }
  }
}

TEST_F(MissesTest, AFailingDiskIsNotHidden) {
  const ModelFile same;
  ExpertStore& store = WithCopy(same, {.slots = 4, .guesses = 1, .misses = kNeverWait});
  Logits(store, nullptr);
  faults_.error = EIO;
  std::string error;
  for (int i = 0; i < 200 && error.empty(); ++i) error = ErrorOf([&] { Logits(store, nullptr); });
  EXPECT_THAT(error, HasSubstr("cannot be read at byte"));
  faults_.error = 0;
  EXPECT_TRUE(Logits(store, nullptr) == Expected());
}

}  // namespace
}  // namespace cadre
