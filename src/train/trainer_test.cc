#include "train/trainer.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/testing.h"
#include "train/checkpoint.h"
#include "train/testing.h"

namespace cadre {
namespace {

using base_testing::TempFolder;
using model_testing::TinyConfig;
using train_testing::DrawRoutingTargets;
using train_testing::RandomBatch;
using train_testing::RouterCase;
using train_testing::RouterCases;
using train_testing::SameBits;
using train_testing::SameState;
using train_testing::TinyRun;

OptimiserConfig WithDropout() {
  OptimiserConfig optimiser;
  optimiser.balance_coefficient = 0.05;
  optimiser.dropout = {.rate = 0.2f, .expert_rate = 0.3f, .seed = 17};
  return optimiser;
}

ModelConfig Dense() {
  ModelConfig config = TinyConfig();
  config.architecture = "mistral";
  config.router = {};
  config.sliding_window = 3;
  config.tie_embeddings = true;
  return config;
}

TEST(TrainingBatch, ShiftsTargetsByOne) {
  TrainingBatch batch;
  batch.AddSequence(std::vector<int32_t>{5, 6, 7});
  batch.AddSequence(std::vector<int32_t>{8, 9});
  EXPECT_EQ(batch.ids, (std::vector<int32_t>{5, 6, 8}));
  EXPECT_EQ(batch.targets, (std::vector<int32_t>{6, 7, 9}));
  EXPECT_EQ(batch.positions, (std::vector<int64_t>{0, 1, 0}));
  EXPECT_EQ(batch.sequence_of_row, (std::vector<int32_t>{0, 0, 1}));
  EXPECT_EQ(batch.num_sequences, 2);
  batch.Clear();
  EXPECT_TRUE(batch.ids.empty());
  EXPECT_EQ(batch.num_sequences, 0);
}

TEST(TrainingBatch, LeavesOutTargetsThatAreNotLearnt) {
  TrainingBatch batch;
  batch.AddSequence(std::vector<int32_t>{5, 6, 7, 8}, std::vector<uint8_t>{0, 0, 1, 1});
  EXPECT_EQ(batch.ids, (std::vector<int32_t>{5, 6, 7}));
  EXPECT_EQ(batch.targets, (std::vector<int32_t>{-1, 7, 8}));
  EXPECT_EQ(batch.CountTargets(), 2);
}

TEST(Trainer, InitialisesMatricesWithTheDeviationAskedFor) {
  ModelConfig config = TinyConfig();
  config.dim = 64;
  config.hidden_dim = 64;
  TinyRun run({}, config);
  run.trainer.Initialise(3, 0.5);
  for (const auto& p : run.trainer.layout().parameters()) {
    const auto values =
        run.trainer.weights().subspan(static_cast<size_t>(p.offset), static_cast<size_t>(p.size()));
    double squares = 0;
    for (const float value : values)
      squares += static_cast<double>(value) * static_cast<double>(value);
    const double deviation = std::sqrt(squares / static_cast<double>(p.size()));
    const bool to_residual = p.name.ends_with("o_proj.weight") || p.name.ends_with("w2.weight");
    const double expected = p.is_norm ? 1 : to_residual ? 0.25 : 0.5;  // sqrt(2 * 2 layers) = 2
    // 256 values and more: five deviations of the estimate are 5 / sqrt(2 * 256) of it.
    EXPECT_NEAR(deviation, expected, p.is_norm ? 0 : 0.25 * expected) << p.name;
  }
  TinyRun same({}, config), other({}, config);
  same.trainer.Initialise(3, 0.5);
  other.trainer.Initialise(4, 0.5);
  EXPECT_TRUE(SameBits(same.trainer.weights(), run.trainer.weights()));
  EXPECT_FALSE(SameBits(other.trainer.weights(), run.trainer.weights()));
}

TEST(Trainer, LowersTheLossOfABatchItSeesAgain) {
  for (const auto& config : {TinyConfig(), Dense()}) {
    TinyRun run({}, config);
    const TrainingBatch batch = RandomBatch(config, 1);
    const double before = run.trainer.Step(batch, 1e-2).objective;
    double after = 0;
    for (int i = 1; i < 20; ++i) after = run.trainer.Step(batch, 1e-2).objective;
    EXPECT_LT(after, 0.7 * before) << config.architecture;
    EXPECT_EQ(run.trainer.step(), 20);
  }
}

// BF16 has 8 bits: each factor is off by at most 2^-9 of itself, which a few products in a row and
// their sums make some hundredths of the gradient.
TEST(Trainer, HasNearlyTheSameGradientsInMixedPrecisionAndLearns) {
  for (const auto& config : {TinyConfig(), Dense()}) {
    OptimiserConfig mixed;
    mixed.precision = ActivationType::kBF16;
    TinyRun exact({}, config), rounded(mixed, config);
    const TrainingBatch batch = RandomBatch(config, 1);
    const double loss = exact.trainer.ComputeGradients(batch).objective;
    EXPECT_NEAR(rounded.trainer.ComputeGradients(batch).objective, loss, 0.01 * loss);
    double difference = 0, size = 0;
    for (size_t i = 0; i < exact.trainer.gradients().size(); ++i) {
      const double gradient = double{exact.trainer.gradients()[i]};
      difference += std::pow(double{rounded.trainer.gradients()[i]} - gradient, 2);
      size += gradient * gradient;
    }
    EXPECT_GT(difference, 0) << config.architecture;
    EXPECT_LT(std::sqrt(difference), 0.05 * std::sqrt(size)) << config.architecture;
    double after = 0;
    for (int i = 0; i < 20; ++i) after = rounded.trainer.Step(batch, 1e-2).objective;
    EXPECT_LT(after, 0.7 * loss) << config.architecture;
  }
}

TEST(Trainer, CountsOnlyTargets) {
  TinyRun run;
  TrainingBatch batch = RandomBatch(run.config, 1);
  const double total = run.trainer.Evaluate(batch);
  EXPECT_EQ(run.trainer.ComputeGradients(batch).targets, 16);
  TrainingBatch masked = batch;
  std::fill(masked.targets.begin(), masked.targets.begin() + 5, -1);
  const StepResult result = run.trainer.ComputeGradients(masked);
  EXPECT_EQ(result.targets, 11);
  EXPECT_NEAR(result.objective * 11, run.trainer.Evaluate(masked), 1e-4);
  EXPECT_LT(run.trainer.Evaluate(masked), total);
}

TEST(Trainer, EvaluatesWithoutDropoutAndChangesNothing) {
  TinyRun dropping(WithDropout()), plain;
  const TrainingBatch batch = RandomBatch(plain.config, 1);
  const double nats = dropping.trainer.Evaluate(batch);
  EXPECT_EQ(nats, plain.trainer.Evaluate(batch));
  EXPECT_NEAR(nats, plain.trainer.ComputeGradients(batch).objective * 16, 1e-4);
  EXPECT_TRUE(SameState(dropping.trainer, plain.trainer));
  EXPECT_NE(dropping.trainer.ComputeGradients(batch).objective,
            plain.trainer.ComputeGradients(batch).objective);
}

TEST(Trainer, AddsTheBalanceLossByItsCoefficient) {
  OptimiserConfig optimiser;
  optimiser.balance_coefficient = 0.25;
  TinyRun run(optimiser);
  const StepResult result = run.trainer.ComputeGradients(RandomBatch(run.config, 1));
  EXPECT_DOUBLE_EQ(result.loss, result.objective + 0.25 * result.balance);
  ASSERT_EQ(result.layer_load.size(), 8u);
  for (size_t l = 0; l < 2; ++l) {
    double sum = 0;
    for (size_t e = 0; e < 4; ++e) sum += result.layer_load[4 * l + e];
    EXPECT_NEAR(sum, 2, 1e-12);  // two choices per token
  }
}

TEST(Trainer, ClipsTheNormOfTheWholeGradient) {
  // With beta1 = beta2 = 0 and a large epsilon a step is lr * g / (|g| + epsilon): nearly the
  // clipped gradient itself.
  OptimiserConfig optimiser;
  optimiser.beta1 = optimiser.beta2 = 0;
  optimiser.epsilon = 1e4f;
  optimiser.weight_decay = 0;
  optimiser.clip_norm = 1e-2;
  TinyRun run(optimiser);
  const std::vector<float> before(run.trainer.weights().begin(), run.trainer.weights().end());
  const StepResult result = run.trainer.Step(RandomBatch(run.config, 1), 1e4);
  EXPECT_GT(result.grad_norm, 0.1);
  double squares = 0;
  for (size_t i = 0; i < before.size(); ++i) {
    squares +=
        std::pow(static_cast<double>(run.trainer.weights()[i]) - static_cast<double>(before[i]), 2);
  }
  EXPECT_NEAR(std::sqrt(squares), 1e-2, 1e-5);
}

TEST(Trainer, DecaysMatricesButNotNorms) {
  OptimiserConfig optimiser;
  optimiser.weight_decay = 0.5f;
  TinyRun run(optimiser);
  TrainingBatch batch = RandomBatch(run.config, 1);
  std::fill(batch.targets.begin(), batch.targets.end(), -1);  // no gradient at all
  const std::vector<float> before(run.trainer.weights().begin(), run.trainer.weights().end());
  EXPECT_EQ(run.trainer.Step(batch, 0.1).grad_norm, 0);
  for (const auto& p : run.trainer.layout().parameters()) {
    const auto i = static_cast<size_t>(p.offset);
    EXPECT_FLOAT_EQ(run.trainer.weights()[i], p.is_norm ? before[i] : 0.95f * before[i]) << p.name;
  }
}

TEST(Trainer, GoesOnFromACheckpointAsIfNeverStopped) {
  for (const auto& config : {TinyConfig(), Dense()}) {
    TinyRun whole(WithDropout(), config);
    for (int i = 0; i < 6; ++i) whole.Step();
    const TempFolder folder;
    const TrainingCheckpoints checkpoints(folder.path());
    {
      TinyRun first(WithDropout(), config);
      for (int i = 0; i < 3; ++i) first.Step();
      checkpoints.Save(first.trainer, "{}");
    }
    TinyRun second(WithDropout(), config);
    ASSERT_TRUE(checkpoints.Restore(second.trainer, "{}"));
    for (int i = 0; i < 3; ++i) second.Step();
    EXPECT_TRUE(SameState(second.trainer, whole.trainer)) << config.architecture;
  }
}

TEST(Trainer, DropsOtherElementsInTheNextStep) {
  TinyRun run(WithDropout());
  const TrainingBatch batch = RandomBatch(run.config, 1);
  const double first = run.trainer.ComputeGradients(batch).loss;
  EXPECT_EQ(run.trainer.ComputeGradients(batch).loss, first);
  run.trainer.set_step(1);
  EXPECT_NE(run.trainer.ComputeGradients(batch).loss, first);
}

TEST(Trainer, DropsOtherElementsInEachBatchOfAStep) {
  TinyRun run(WithDropout());
  const TrainingBatch batch = RandomBatch(run.config, 1);
  CrossEntropy objective;
  const double alone = run.trainer.ComputeGradients({&batch, 1}, objective).objective;
  const std::vector<TrainingBatch> twice = {batch, batch};
  const double mean = run.trainer.ComputeGradients(twice, objective).objective;
  EXPECT_GT(std::abs(mean - alone), 1e-6);  // the second half of the mean is another number
  EXPECT_EQ(run.trainer.ComputeGradients(twice, objective).objective, mean);
}

// W_noise of the trainer away from its zeros.
void StirNoise(Trainer& trainer) {
  Random random(31);
  for (const auto& p : trainer.layout().parameters()) {
    if (!p.is_router_noise) continue;
    for (int64_t i = 0; i < p.size(); ++i)
      trainer.weights()[static_cast<size_t>(p.offset + i)] =
          static_cast<float>(0.3 * random.NextNormal());
  }
}

class Routers : public ::testing::TestWithParam<RouterCase> {};

TEST_P(Routers, AddTheirLossesAndCountTheirDrops) {
  TinyRun run(GetParam().optimiser, GetParam().model);
  const StepResult result = run.trainer.ComputeGradients(RandomBatch(run.config, 1));
  const RouterLossConfig& c = GetParam().optimiser;
  EXPECT_NEAR(result.loss,
              result.objective + c.balance_coefficient * result.balance +
                  c.importance_coefficient * result.importance + c.load_coefficient * result.load +
                  c.z_coefficient * result.z,
              1e-12);
  ASSERT_EQ(result.drop_rate.size(), 2u);
  const bool drops = run.config.router.capacity_factor > 0;
  for (const double rate : result.drop_rate) EXPECT_EQ(rate > 0, drops);
}

TEST_P(Routers, LearnABatchTheySeeAgain) {
  TinyRun run(GetParam().optimiser, GetParam().model);
  const TrainingBatch batch = RandomBatch(run.config, 1);
  const double before = run.trainer.Step(batch, 1e-2).objective;
  for (int i = 1; i < 40; ++i) run.trainer.Step(batch, 1e-2);
  EXPECT_LT(run.trainer.Evaluate(batch) / 16, 0.7 * before);
}

TEST_P(Routers, GoOnFromACheckpointAsIfNeverStopped) {
  const auto& [name, config, optimiser, batch_seed, replay] = GetParam();
  TinyRun whole(optimiser, config);
  for (int i = 0; i < 6; ++i) whole.Step();
  const TempFolder folder;
  const TrainingCheckpoints checkpoints(folder.path());
  {
    TinyRun first(optimiser, config);
    for (int i = 0; i < 3; ++i) first.Step();
    checkpoints.Save(first.trainer, "{}");
  }
  TinyRun second(optimiser, config);
  ASSERT_TRUE(checkpoints.Restore(second.trainer, "{}"));
  for (int i = 0; i < 3; ++i) second.Step();
  EXPECT_TRUE(SameState(second.trainer, whole.trainer));
}

TEST_P(Routers, AreEvaluatedAsTheyWillRun) {
  TinyRun run(GetParam().optimiser, GetParam().model);
  StirNoise(run.trainer);
  const TrainingBatch batch = RandomBatch(run.config, 1);
  const double nats = run.trainer.Evaluate(batch);
  run.trainer.set_step(7);
  EXPECT_EQ(run.trainer.Evaluate(batch), nats);  // nothing random
  ModelConfig plain = run.config;
  plain.router = plain.router.ForInference();
  TinyRun other({}, plain);
  for (const auto& p : other.trainer.layout().parameters()) {  // the same weights by name
    for (const auto& q : run.trainer.layout().parameters()) {
      if (p.name == q.name)
        std::copy_n(run.trainer.weights().begin() + q.offset, q.size(),
                    other.trainer.weights().begin() + p.offset);
    }
  }
  EXPECT_EQ(other.trainer.Evaluate(batch), nats);
  // And rows do not meet in capacity: sequences one by one give the same sum.
  double sum = 0;
  for (size_t s = 0; s < 2; ++s) {
    std::vector<int32_t> tokens;
    for (size_t t = 0; t < batch.ids.size(); ++t) {
      if (batch.sequence_of_row[t] != static_cast<int32_t>(s)) continue;
      if (tokens.empty()) tokens.push_back(batch.ids[t]);
      tokens.push_back(batch.targets[t]);
    }
    TrainingBatch one;
    one.AddSequence(tokens);
    sum += run.trainer.Evaluate(one);
  }
  EXPECT_NEAR(sum, nats, 1e-5);
}

TEST_P(Routers, DrawAnewInTheNextStep) {
  TinyRun run(GetParam().optimiser, GetParam().model);
  const RouterConfig& router = run.config.router;
  const TrainingBatch batch = RandomBatch(run.config, 1);
  const double first = run.trainer.ComputeGradients(batch).loss;
  EXPECT_EQ(run.trainer.ComputeGradients(batch).loss, first);
  run.trainer.set_step(1);
  EXPECT_EQ(run.trainer.ComputeGradients(batch).loss != first,
            router.noise || router.jitter > 0 || router.second_by_lot);
}

INSTANTIATE_TEST_SUITE_P(All, Routers, ::testing::ValuesIn(RouterCases()),
                         [](const auto& test) { return test.param.name; });

TEST(Trainer, InitialisesNoiseWithZerosAndTheRestAsWithoutIt) {
  ModelConfig noisy = TinyConfig();
  noisy.router.noise = true;
  TinyRun with({}, noisy), without;
  for (const auto& p : with.trainer.layout().parameters()) {
    const auto values = with.trainer.weights().subspan(static_cast<size_t>(p.offset),
                                                       static_cast<size_t>(p.size()));
    if (p.is_router_noise) {
      EXPECT_EQ(std::count(values.begin(), values.end(), 0.0f), p.size()) << p.name;
      continue;
    }
    for (const auto& q : without.trainer.layout().parameters()) {
      if (q.name != p.name) continue;
      EXPECT_TRUE(
          SameBits(values, without.trainer.weights().subspan(static_cast<size_t>(q.offset),
                                                             static_cast<size_t>(q.size()))))
          << p.name;
    }
  }
}

TEST(Trainer, PassesDroppedTokensByAndLeavesIdleExpertsWithoutGradient) {
  ModelConfig config = TinyConfig();
  config.router = {.num_experts = 4,
                   .top_k = 1,
                   .softmax = RouterSoftmax::kAll,
                   .capacity_factor = 1e-9};  // one row per expert, whatever the step
  OptimiserConfig optimiser;
  optimiser.balance_coefficient = 0.01;
  TinyRun run(optimiser, config);
  // All tokens alike: one expert is chosen by all of them, and takes one.
  TrainingBatch batch;
  batch.AddSequence(std::vector<int32_t>(9, 5));
  const StepResult result = run.trainer.ComputeGradients(batch);
  EXPECT_DOUBLE_EQ(result.drop_rate[0], 7.0 / 8);
  EXPECT_TRUE(std::isfinite(result.loss) && std::isfinite(result.grad_norm));
  int idle = 0;
  for (const auto& p : run.trainer.layout().parameters()) {
    if (p.name.find("layers.0.block_sparse_moe.experts.") == std::string::npos) continue;
    const auto of = run.trainer.gradients().subspan(static_cast<size_t>(p.offset),
                                                    static_cast<size_t>(p.size()));
    idle += std::all_of(of.begin(), of.end(), [](float g) { return g == 0; });
    for (const float g : of) ASSERT_TRUE(std::isfinite(g)) << p.name;
  }
  EXPECT_EQ(idle, 9);  // the three matrices of three experts
}

TEST(Trainer, UsesTheExpertsThatABatchSays) {
  TinyRun run;
  TrainingBatch batch = RandomBatch(run.config, 1);
  const StepResult free = run.trainer.ComputeGradients(batch);
  const double nats = run.trainer.Evaluate(batch);
  DrawRoutingTargets(run.config, 8, false, true, batch);
  const StepResult held = run.trainer.ComputeGradients(batch);
  std::vector<double> counts(8, 0);
  for (size_t i = 0; i < batch.routing.experts.size(); ++i) {
    const size_t layer = i / (batch.routing.experts.size() / 2);
    counts[4 * layer + static_cast<size_t>(batch.routing.experts[i])] += 1;
  }
  for (size_t i = 0; i < counts.size(); ++i)
    EXPECT_DOUBLE_EQ(held.layer_load[i], counts[i] / static_cast<double>(batch.ids.size()));
  EXPECT_NE(held.objective, free.objective);
  EXPECT_EQ(run.trainer.Evaluate(batch), nats);  // as the model will run
}

TEST(Trainer, IsDrawnBackToTheProbabilitiesOfAnAnchor) {
  OptimiserConfig optimiser;
  optimiser.anchor_coefficient = 1;
  optimiser.weight_decay = 0;
  TinyRun run(optimiser);
  TrainingBatch batch = RandomBatch(run.config, 1);
  std::fill(batch.targets.begin(), batch.targets.end(), -1);  // nothing else is learnt
  DrawRoutingTargets(run.config, 8, true, false, batch);
  const double before = run.trainer.Step(batch, 1e-2).anchor;
  double after = before;
  for (int i = 0; i < 60; ++i) after = run.trainer.Step(batch, 1e-2).anchor;
  EXPECT_GT(before, 0.1);
  EXPECT_LT(after, 0.5 * before);
}

// The slope of the loss, dropout's masks, draws of the router and all, at the largest gradient of
// every parameter and at two elements of no choosing.
class Gradients : public ::testing::TestWithParam<RouterCase> {};

std::vector<RouterCase> GradientCases() {
  auto cases = RouterCases();
  cases.push_back({"Dense", Dense(), WithDropout()});
  cases.push_back({"MixtralWithDropout", TinyConfig(), WithDropout()});
  OptimiserConfig anchored = WithDropout();
  anchored.anchor_coefficient = 0.5;
  cases.push_back({"Anchored", TinyConfig(), anchored});
  cases.push_back({"Replayed", TinyConfig(), anchored, 1, true});
  ModelConfig over_all = TinyConfig();
  over_all.router.softmax = RouterSoftmax::kAll;
  cases.push_back({"ReplayedOverAll", over_all, anchored, 1, true});
  return cases;
}

TEST_P(Gradients, AreTheSlopesOfTheLoss) {
  const ModelConfig config = GetParam().model;
  TinyRun run(GetParam().optimiser, config);
  Trainer& trainer = run.trainer;
  StirNoise(trainer);
  TrainingBatch batch = RandomBatch(config, GetParam().batch_seed);
  DrawRoutingTargets(config, 8, GetParam().optimiser.anchor_coefficient > 0, GetParam().replay,
                     batch);
  const StepResult at = trainer.ComputeGradients(batch);
  const std::vector<float> gradients(trainer.gradients().begin(), trainer.gradients().end());
  Random random(6);
  for (const auto& p : trainer.layout().parameters()) {
    const std::span<const float> of(gradients.data() + p.offset, static_cast<size_t>(p.size()));
    const auto largest = std::max_element(
        of.begin(), of.end(), [](float a, float b) { return std::abs(a) < std::abs(b); });
    std::vector<size_t> elements = {static_cast<size_t>(largest - of.begin())};
    for (int i = 0; i < 2; ++i) elements.push_back(random.NextBelow(of.size()));
    for (const size_t element : elements) {
      float& w = trainer.weights()[static_cast<size_t>(p.offset) + element];
      const float kept = w;
      // The loss is a mean of float32 values near 4 (2e-7 each): h = 4e-3 leaves 1e-4 of noise and
      // about as much of h^2.
      const auto loss_at = [&](float value) {
        w = value;
        const StepResult result = trainer.ComputeGradients(batch);
        EXPECT_EQ(result.layer_load, at.layer_load)
            << "the seed puts a choice of experts on the edge: take another";
        return result.loss;
      };
      const float up = kept + 4e-3f, down = kept - 4e-3f;
      const double slope =
          (loss_at(up) - loss_at(down)) / (static_cast<double>(up) - static_cast<double>(down));
      w = kept;
      EXPECT_NEAR(of[element], slope, 2e-4 + 5e-3 * std::abs(slope)) << p.name << " " << element;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, Gradients, ::testing::ValuesIn(GradientCases()),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace cadre
