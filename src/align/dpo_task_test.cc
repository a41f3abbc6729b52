#include "align/dpo_task.h"

#include <gtest/gtest.h>

#include <numbers>

#include "align/testing.h"
#include "base/json.h"

namespace cadre {
namespace {

using align_testing::ChatSample;
using align_testing::SmallRun;

class DpoSteps : public ::testing::Test {
 protected:
  DpoSteps() {
    const char* questions[] = {"why", "who", "where", "when", "what"};
    for (const char* question : questions)
      pairs_.push_back({ChatSample(question, "because so"), ChatSample(question, "no")});
    config_.batch_pairs = 3;
    config_.micro_tokens = 100;
    for (const auto& pair : pairs_) all_.push_back(&pair);
  }

  std::vector<DpoTask::Source> Referred(Trainer& trainer) {
    const auto references = ScorePairs(trainer, all_, config_.micro_tokens);
    DpoTask::Source source{"pairs", 0, {}, {}};
    for (size_t i = 0; i < pairs_.size(); ++i)
      (i < 4 ? source.train : source.held_back).push_back({&pairs_[i], references[i]});
    return {source};
  }

  DpoConfig config_;
  std::vector<Pair> pairs_;
  std::vector<const Pair*> all_;
};

TEST_F(DpoSteps, ScoresDoNotDependOnTheirBatch) {
  SmallRun run;
  const auto together = ScorePairs(run.trainer, all_, 1 << 20);
  const auto alone = ScorePairs(run.trainer, all_, 1);
  ASSERT_EQ(together.size(), alone.size());
  for (size_t i = 0; i < alone.size(); ++i) {
    EXPECT_EQ(together[i].chosen, alone[i].chosen);
    EXPECT_EQ(together[i].rejected, alone[i].rejected);
  }
}

TEST_F(DpoSteps, BeginAtLog2WithoutMargin) {
  SmallRun run;
  DpoTask task(config_, Referred(run.trainer));
  task.RememberRouting(run.trainer);
  std::vector<TrainingBatch> batches;
  task.FillBatches(0, batches);
  const StepResult result = run.trainer.ComputeGradients(batches, task.objective());
  EXPECT_NEAR(result.objective, std::numbers::ln2, 1e-12);
  const auto validation = task.Validate(run.trainer, false);
  ASSERT_TRUE(validation);
  EXPECT_EQ(validation->figures["rewards/margins"], 0);
  EXPECT_EQ(validation->figures["rewards/accuracies"], 0);
  EXPECT_EQ(validation->figures["pairs"], 1);
}

TEST_F(DpoSteps, LearnThePreference) {
  SmallRun run;
  DpoTask task(config_, Referred(run.trainer));
  std::vector<TrainingBatch> batches;
  OrderedJson line;
  for (int64_t step = 0; step < 15; ++step) {
    task.FillBatches(step, batches);
    const StepResult result = run.trainer.Step(batches, 3e-3, task.objective());
    line = OrderedJson::object();
    task.AddMetrics(result, line);
  }
  EXPECT_LT(line["dpo_loss"].get<double>(), 0.3);
  EXPECT_EQ(line["rewards/accuracies"], 1);
  EXPECT_EQ(line["pairs"], 45);
  EXPECT_EQ(task.Validate(run.trainer, true)->figures["rewards/accuracies"], 1);
}

TEST_F(DpoSteps, AreAFunctionOfTheirNumber) {
  SmallRun run;
  const auto sources = Referred(run.trainer);
  DpoTask forward(config_, sources), jumping(config_, sources);
  std::vector<TrainingBatch> batches, other;
  std::vector<std::vector<int32_t>> steps;
  for (int64_t step = 0; step < 5; ++step) {
    forward.FillBatches(step, batches);
    steps.push_back(batches.back().ids);
  }
  for (const int64_t step : {4, 1, 2, 0}) {
    jumping.FillBatches(step, other);
    EXPECT_EQ(other.back().ids, steps[static_cast<size_t>(step)]);
  }
}

}  // namespace
}  // namespace cadre
