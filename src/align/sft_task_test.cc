#include "align/sft_task.h"

#include <gtest/gtest.h>

#include "align/testing.h"
#include "base/json.h"

namespace cadre {
namespace {

using align_testing::ChatSample;
using align_testing::SmallRun;
using train_testing::SameBits;

std::string Letters(Random& random, uint64_t most) {
  std::string text;
  for (uint64_t i = 0, n = 1 + random.NextBelow(most); i < n; ++i)
    text += static_cast<char>('a' + random.NextBelow(26));
  return text;
}

class Sft : public ::testing::Test {
 protected:
  Sft() {
    Random random(5);
    for (int s = 0; s < 2; ++s) {
      auto& source = sources_.emplace_back();
      source.name = s == 0 ? "one" : "two";
      for (int i = 0; i < 12; ++i)
        source.train.Add(ChatSample(Letters(random, 9), Letters(random, 9)));
      for (int i = 0; i < 3; ++i)
        source.held_back.Add(ChatSample(Letters(random, 9), Letters(random, 9)));
    }
    config_.batch_tokens = 120;
    config_.segment_tokens = 64;
    config_.micro_tokens = 1 << 20;
  }

  static std::vector<int32_t> AllIds(const std::vector<TrainingBatch>& batches) {
    std::vector<int32_t> ids;
    for (const auto& batch : batches) ids.insert(ids.end(), batch.ids.begin(), batch.ids.end());
    return ids;
  }

  SftConfig config_;
  std::vector<InstructionSource> sources_;
  const std::vector<InstructionSource> none_;
};

TEST_F(Sft, PackedTokensLoseWhatTheyLoseAlone) {
  SmallRun run;
  TrainingBatch packed;
  std::vector<float> alone;
  const SampleSet& samples = sources_[0].train;
  for (int64_t i = 0; i < samples.size(); ++i) {
    packed.AddSequence(samples.tokens(i), samples.trained(i));
    TrainingBatch one;
    one.AddSequence(samples.tokens(i), samples.trained(i));
    const auto losses = run.trainer.TokenLosses(one);
    alone.insert(alone.end(), losses.begin(), losses.end());
  }
  EXPECT_TRUE(SameBits(run.trainer.TokenLosses(packed), alone));
}

TEST_F(Sft, PartsOfAStepMakeTheSameStep) {
  SmallRun run;
  CrossEntropy objective;
  std::vector<TrainingBatch> whole, parts;
  SftTask(config_, sources_, none_).FillBatches(2, whole);
  config_.micro_tokens = 40;
  SftTask(config_, sources_, none_).FillBatches(2, parts);
  EXPECT_EQ(whole.size(), 1u);
  EXPECT_GT(parts.size(), 1u);
  EXPECT_EQ(AllIds(whole), AllIds(parts));
  const StepResult one = run.trainer.ComputeGradients(whole, objective);
  const std::vector<float> gradients(run.trainer.gradients().begin(),
                                     run.trainer.gradients().end());
  const StepResult several = run.trainer.ComputeGradients(parts, objective);
  EXPECT_NEAR(one.objective, several.objective, 1e-6);
  EXPECT_EQ(one.targets, several.targets);
  for (size_t i = 0; i < gradients.size(); ++i)
    ASSERT_NEAR(gradients[i], run.trainer.gradients()[i], 1e-5);
}

TEST_F(Sft, StepsAreAFunctionOfTheirNumber) {
  SftTask forward(config_, sources_, none_), jumping(config_, sources_, none_);
  std::vector<std::vector<int32_t>> steps;
  std::vector<TrainingBatch> batches;
  for (int64_t step = 0; step < 8; ++step) {
    forward.FillBatches(step, batches);
    steps.push_back(AllIds(batches));
    EXPECT_LE(std::ssize(steps.back()), config_.batch_tokens);
  }
  for (const int64_t step : {7, 2, 3, 3, 0, 6}) {
    jumping.FillBatches(step, batches);
    EXPECT_EQ(AllIds(batches), steps[static_cast<size_t>(step)]) << step;
  }
}

TEST_F(Sft, MeasuresWhatItDoesNotTrainOn) {
  SmallRun run;
  SftTask task(config_, sources_, none_);
  task.RememberRouting(run.trainer);
  const auto validation = task.Validate(run.trainer, false);
  ASSERT_TRUE(validation);
  EXPECT_EQ(validation->figures["one"]["samples"], 3);
  EXPECT_GT(validation->figures["two"]["loss"].get<double>(), 1);
  EXPECT_EQ(validation->figures["router_drift"]["changed"], 0);
  for (auto& w : run.trainer.weights()) w = -w;
  EXPECT_GT(task.Validate(run.trainer, false)->figures["router_drift"]["changed"].get<double>(), 0);
}

TEST_F(Sft, LearnsItsAnswers) {
  SmallRun run;
  config_.held_back = 0;
  SftTask task(config_, sources_, none_);
  std::vector<TrainingBatch> batches;
  task.FillBatches(0, batches);
  const double before = run.trainer.Step(batches, 1e-2, task.objective()).loss;
  double after = before;
  for (int i = 1; i < 20; ++i) after = run.trainer.Step(batches, 1e-2, task.objective()).loss;
  EXPECT_LT(after, 0.7 * before);
}

TEST_F(Sft, LeavesFrozenPartsAsTheyAre) {
  OptimiserConfig optimiser;
  optimiser.frozen = {ModelPart::kRouter, ModelPart::kEmbedding};
  SmallRun run(optimiser);
  const std::vector<float> before(run.trainer.weights().begin(), run.trainer.weights().end());
  SftTask task(config_, sources_, none_);
  std::vector<TrainingBatch> batches;
  task.FillBatches(0, batches);
  run.trainer.Step(batches, 1e-2, task.objective());
  for (const auto& p : run.trainer.layout().parameters()) {
    const auto begin = static_cast<size_t>(p.offset), size = static_cast<size_t>(p.size());
    const bool frozen = PartOf(p) == ModelPart::kRouter || PartOf(p) == ModelPart::kEmbedding;
    const std::span<const float> old(before.data() + begin, size);
    EXPECT_EQ(SameBits(old, run.trainer.weights().subspan(begin, size)), frozen) << p.name;
  }
}

}  // namespace
}  // namespace cadre
