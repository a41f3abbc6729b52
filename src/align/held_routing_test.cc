#include "align/held_routing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "align/router_drift.h"
#include "align/testing.h"
#include "base/json.h"
#include "base/testing.h"

namespace cadre {
namespace {

using align_testing::ChatSample;
using align_testing::SmallRun;
using base_testing::ErrorOf;

std::vector<TrainingBatch> SomeBatches() {
  std::vector<TrainingBatch> batches(2);
  for (const char* question : {"one", "what of two", "three?", "and four"}) {
    const Sample sample = ChatSample(question, std::string("it is ") + question);
    for (size_t i = 0; i < 2; ++i)
      if (sample.tokens.size() % 2 == i || i == 1)
        batches[i].AddSequence(sample.tokens, sample.trained);
  }
  std::erase_if(batches, [](const auto& batch) { return batch.ids.empty(); });
  return batches;
}

TEST(BaseRouting, IsWhatTheModelSaysWhenItRuns) {
  SmallRun run;
  BaseRouting routing(run.trainer.model(), {.probs = true, .experts = true}, *run.device);
  for (auto& batch : SomeBatches()) {
    RoutingTargets seen;
    const RoutingObserver observer = [&](int64_t, const Routing& r) {
      for (int64_t t = 0; t < r.experts.rows; ++t) {
        const auto experts = r.experts.row_span(t);
        const auto probs = r.probs.row_span(t);
        seen.experts.insert(seen.experts.end(), experts.begin(), experts.end());
        seen.probs.insert(seen.probs.end(), probs.begin(), probs.end());
      }
    };
    run.trainer.ObserveRouting(batch, observer);
    routing.Fill(batch);
    EXPECT_EQ(batch.routing.experts, seen.experts);
    EXPECT_EQ(batch.routing.probs, seen.probs);
    EXPECT_EQ(std::ssize(batch.routing.probs), 2 * 4 * std::ssize(batch.ids));
    routing.Fill(batch);  // not twice as much
    EXPECT_EQ(batch.routing.experts, seen.experts);
  }
}

TEST(BaseRouting, GivesOnlyWhatIsWanted) {
  SmallRun run;
  auto batches = SomeBatches();
  BaseRouting(run.trainer.model(), {.probs = true}, *run.device).Fill(batches[0]);
  EXPECT_FALSE(batches[0].routing.probs.empty());
  EXPECT_TRUE(batches[0].routing.experts.empty());
  BaseRouting(run.trainer.model(), {.experts = true}, *run.device).Fill(batches[0]);
  EXPECT_TRUE(batches[0].routing.probs.empty());
  EXPECT_FALSE(batches[0].routing.experts.empty());
}

// The same batches at every step.
class SameBatches : public Task {
 public:
  void FillBatches(int64_t, std::vector<TrainingBatch>& batches) override {
    batches = SomeBatches();
  }
  Objective& objective() override { return objective_; }
  void AddMetrics(const StepResult&, OrderedJson&) override {}
  std::optional<Validation> Validate(Trainer&, bool) override { return std::nullopt; }

 private:
  CrossEntropy objective_;
};

enum class Hold { kNothing, kFreeze, kAnchor, kReplay };

struct Tuned {
  double changed = 0;  // share of tokens that choose other experts, mean of the layers
  double loss = 0;     // of the last step, without the routers' losses
};

Tuned Tune(Hold hold) {
  SftConfig config;
  config.optimiser.weight_decay = 0;
  if (hold == Hold::kFreeze) config.optimiser.frozen = {ModelPart::kRouter};
  if (hold == Hold::kAnchor) config.optimiser.anchor_coefficient = 10;
  config.replay_routing = hold == Hold::kReplay;
  SmallRun run(config.optimiser);
  const SmallRun base;  // the same weights
  RouterDrift drift(run.trainer, SomeBatches());
  SameBatches task;
  HeldTask held(task, config, base.trainer.model(), *run.device);
  std::vector<TrainingBatch> batches;
  Tuned tuned;
  for (int64_t step = 0; step < 30; ++step) {
    held.FillBatches(step, batches);
    tuned.loss = run.trainer.Step(batches, 3e-3, held.objective()).objective;
  }
  const auto layers = drift.Measure(run.trainer);
  for (const auto& layer : layers)
    tuned.changed += layer.changed / static_cast<double>(layers.size());
  return tuned;
}

// Frozen routers learn too, but nothing is claimed of their choices: what they see moves.
TEST(HeldTask, MovesChoicesLessThanTuningAlone) {
  const Tuned alone = Tune(Hold::kNothing), frozen = Tune(Hold::kFreeze);
  const Tuned anchored = Tune(Hold::kAnchor), replayed = Tune(Hold::kReplay);
  EXPECT_GT(alone.changed, 0.05);
  EXPECT_LT(anchored.changed, 0.5 * alone.changed);
  EXPECT_LT(replayed.changed, alone.changed);
  const double untrained = std::log(static_cast<double>(SmallRun::Config().vocab_size));
  for (const Tuned& tuned : {alone, frozen, anchored, replayed})
    EXPECT_LT(tuned.loss, 0.8 * untrained);  // and all of them learn
}

TEST(HeldTask, LeavesBatchesAloneUnlessAsked) {
  SmallRun run;
  SameBatches task;
  HeldTask held(task, SftConfig{}, run.trainer.model(), *run.device);
  std::vector<TrainingBatch> batches;
  held.FillBatches(0, batches);
  EXPECT_TRUE(batches[0].routing.probs.empty());
  EXPECT_TRUE(batches[0].routing.experts.empty());
}

TEST(HeldTask, RefusesAModelWithoutRouters) {
  ModelConfig dense = SmallRun::Config();
  dense.router = {};
  dense.architecture = "mistral";
  const train_testing::TinyRun run({}, dense);
  SameBatches task;
  SftConfig config;
  config.model = "some/model";
  config.replay_routing = true;
  const auto device = MakeReferenceDevice();
  EXPECT_THAT(ErrorOf([&] { HeldTask(task, config, run.trainer.model(), *device); }),
              ::testing::HasSubstr("some/model: has no routers, but router.replay needs some"));
}

}  // namespace
}  // namespace cadre
