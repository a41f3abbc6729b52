#include "align/preference_objective.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <numbers>

#include "align/testing.h"
#include "formats/safetensors.h"
#include "model/load.h"

namespace cadre {
namespace {

using model_testing::GoldenPath;

template <typename T>
std::span<const T> Values(const SafetensorsFile& file, const std::string& name) {
  const auto* entry = file.Find(name);
  if (entry == nullptr) throw std::runtime_error("golden without " + name);
  return {reinterpret_cast<const T*>(entry->data.data()), entry->data.size() / sizeof(T)};
}

// The golden's settings.
const std::map<std::string, PreferenceConfig> kCases = {
    {"sigmoid", {}},
    {"conservative", {.label_smoothing = 0.2}},
    {"robust", {.loss = PreferenceLoss::kRobust, .label_smoothing = 0.2}},
    {"hinge", {.loss = PreferenceLoss::kHinge}},
    {"ipo", {.loss = PreferenceLoss::kIpo}},
    {"ipo_mean", {.loss = PreferenceLoss::kIpo, .length_normalised = true}},
    {"sigmoid_sft", {.sft_coefficient = 0.7}},
    {"reference_free", {.reference_free = true}},
};

class PreferenceGolden : public ::testing::Test {
 protected:
  PreferenceGolden()
      : golden_(SafetensorsFile::Open(GoldenPath("preferences") + "/golden.safetensors")),
        loaded_(LoadedModel::Load(GoldenPath("train_mixtral"))),
        trainer_(loaded_.model().config, {}, *device_, *ops_) {
    CopyToArena(loaded_.model(), trainer_.weights().data());
    const auto* tokens = golden_.Find("tokens");
    const auto ids = Values<int64_t>(golden_, "tokens");
    const auto prompts = Values<int64_t>(golden_, "prompts");
    const auto references = Values<double>(golden_, "reference");
    const auto length = static_cast<size_t>(tokens->shape[1]);
    for (size_t s = 0; s < prompts.size(); ++s) {
      Sample sample;
      for (size_t t = 0; t < length && ids[s * length + t] >= 0; ++t) {
        sample.tokens.push_back(static_cast<int32_t>(ids[s * length + t]));
        sample.trained.push_back(static_cast<int64_t>(t) >= prompts[s]);
      }
      // Each pair in a batch of its own too.
      if (s % 2 == 0) apart_.emplace_back();
      for (TrainingBatch* batch : {&together_, &apart_.back()}) {
        batch->AddSequence(sample.tokens, sample.trained);
        batch->reference_log_probs.push_back(references[s]);
      }
    }
  }

  void ExpectGradients(const std::string& name) {
    for (const auto& p : trainer_.layout().parameters()) {
      const auto* entry = golden_.Find(name + "." + p.name);
      if (entry == nullptr) continue;
      const auto want = Values<float>(golden_, name + "." + p.name);
      ASSERT_EQ(static_cast<int64_t>(want.size()), p.size());
      double difference = 0, norm = 0;
      for (int64_t i = 0; i < p.size(); ++i) {
        const double w = want[static_cast<size_t>(i)];
        const double got = trainer_.gradients()[static_cast<size_t>(p.offset + i)];
        difference += (got - w) * (got - w);
        norm += w * w;
      }
      EXPECT_LE(std::sqrt(difference), 1e-5 * std::sqrt(norm)) << name << " " << p.name;
      ++gradients_checked_;
    }
  }

  std::unique_ptr<Device> device_ = MakeReferenceDevice();
  std::unique_ptr<BackwardOps> ops_ = MakeReferenceBackward();
  SafetensorsFile golden_;
  LoadedModel loaded_;
  Trainer trainer_;
  TrainingBatch together_;
  std::vector<TrainingBatch> apart_;
  int gradients_checked_ = 0;
};

TEST_F(PreferenceGolden, LossesAndGradientsMatchPyTorch) {
  for (const auto& [name, config] : kCases) {
    PreferenceObjective objective(config);
    const StepResult whole = trainer_.ComputeGradients({&together_, 1}, objective);
    const double want = Values<double>(golden_, name + ".loss")[0];
    EXPECT_NEAR(whole.loss, want, 1e-5 * std::max(1.0, std::abs(want))) << name;
    ExpectGradients(name);
    const StepResult parts = trainer_.ComputeGradients(apart_, objective);
    EXPECT_NEAR(parts.loss, want, 1e-5 * std::max(1.0, std::abs(want))) << name;
    ExpectGradients(name);
  }
  EXPECT_EQ(gradients_checked_, static_cast<int>(kCases.size()) * 4 * 2);
}

TEST_F(PreferenceGolden, SlopesByLogProbabilitiesMatchPyTorch) {
  const auto log_probs = Values<double>(golden_, "log_probs");
  const auto pairs = CollectPairs(together_, trainer_.TokenLosses(together_));
  for (size_t i = 0; i < pairs.size(); ++i) {
    EXPECT_NEAR(pairs[i].chosen, log_probs[2 * i], 1e-5);
    EXPECT_NEAR(pairs[i].rejected, log_probs[2 * i + 1], 1e-5);
  }
  for (const auto& [name, config] : kCases) {
    const auto want = Values<double>(golden_, name + ".d_log_probs");
    const auto n = static_cast<double>(pairs.size());
    for (size_t i = 0; i < pairs.size(); ++i) {
      const PairLoss loss = ComputePairLoss(pairs[i], config);
      EXPECT_NEAR(loss.d_chosen / n, want[2 * i], 1e-5) << name;
      EXPECT_NEAR(loss.d_rejected / n, want[2 * i + 1], 1e-5) << name;
    }
  }
}

TEST_F(PreferenceGolden, MetricsMatchPyTorch) {
  PreferenceObjective objective({});
  trainer_.ComputeGradients(apart_, objective);
  const PreferenceMetrics m = objective.metrics();
  const auto want = Values<double>(golden_, "metrics");
  const double got[] = {m.reward_chosen,  m.reward_rejected, m.accuracy(),
                        m.logp_chosen,    m.logp_rejected,   m.logit_chosen,
                        m.logit_rejected, m.token_accuracy,  m.entropy};
  ASSERT_EQ(want.size(), std::size(got));
  for (size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-5) << i;
}

TEST_F(PreferenceGolden, APolicyThatIsItsReferenceLosesLog2AndIsNeverRight) {
  const auto pairs = CollectPairs(together_, trainer_.TokenLosses(together_));
  TrainingBatch batch = together_;
  for (size_t i = 0; i < pairs.size(); ++i) {
    batch.reference_log_probs[2 * i] = pairs[i].chosen;
    batch.reference_log_probs[2 * i + 1] = pairs[i].rejected;
  }
  PreferenceObjective objective({});
  const StepResult result = trainer_.ComputeGradients({&batch, 1}, objective);
  EXPECT_DOUBLE_EQ(result.objective, std::numbers::ln2);
  EXPECT_EQ(objective.metrics().margin(), 0);
  EXPECT_EQ(objective.metrics().accuracy(), 0);
  EXPECT_GT(result.grad_norm, 0);
}

// The slope of the loss at the largest gradient of every parameter.
TEST(PreferenceObjective, GradientsAreTheSlopesOfTheLoss) {
  OptimiserConfig optimiser;
  optimiser.balance_coefficient = 0.05;
  train_testing::TinyRun run(optimiser);
  TrainingBatch batch = train_testing::RandomBatch(run.config, 4);
  for (size_t t = 0; t < 3; ++t) batch.targets[t] = batch.targets[8 + t] = -1;
  batch.reference_log_probs = {-20, -21};
  PreferenceObjective objective({.beta = 0.5, .label_smoothing = 0.1, .sft_coefficient = 0.3});
  const StepResult at = run.trainer.ComputeGradients({&batch, 1}, objective);
  const std::vector<float> gradients(run.trainer.gradients().begin(),
                                     run.trainer.gradients().end());
  for (const auto& p : run.trainer.layout().parameters()) {
    const std::span<const float> of(gradients.data() + p.offset, static_cast<size_t>(p.size()));
    const auto largest = std::max_element(
        of.begin(), of.end(), [](float a, float b) { return std::abs(a) < std::abs(b); });
    float& w = run.trainer.weights()[static_cast<size_t>(p.offset + (largest - of.begin()))];
    const float kept = w;
    const auto loss_at = [&](float value) {
      w = value;
      const StepResult result = run.trainer.ComputeGradients({&batch, 1}, objective);
      EXPECT_EQ(result.layer_load, at.layer_load)
          << "the seed puts a choice of experts on the edge: take another";
      return result.loss;
    };
    const float up = kept + 2e-3f, down = kept - 2e-3f;
    const double slope =
        (loss_at(up) - loss_at(down)) / (static_cast<double>(up) - static_cast<double>(down));
    w = kept;
    EXPECT_NEAR(*largest, slope, 5e-4 + 5e-3 * std::abs(slope)) << p.name;
  }
}

}  // namespace
}  // namespace cadre
