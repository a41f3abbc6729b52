#include "transfer/distill_objective.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <numbers>

#include "base/random.h"
#include "formats/safetensors.h"
#include "model/load.h"
#include "train/testing.h"

namespace cadre {
namespace {

using model_testing::GoldenPath;
using train_testing::RandomBatch;
using train_testing::TinyRun;

template <typename T>
std::span<const T> Values(const SafetensorsFile& file, const std::string& name) {
  const auto* entry = file.Find(name);
  if (entry == nullptr) throw std::runtime_error("golden without " + name);
  return {reinterpret_cast<const T*>(entry->data.data()), entry->data.size() / sizeof(T)};
}

// The golden's settings.
const std::map<std::string, DistillLoss> kCases = {
    {"forward", {.weight = 1}},
    {"forward_hot", {.temperature = 2, .weight = 0.25}},
    {"reverse", {.divergence = Divergence::kReverseKl, .weight = 1}},
    {"reverse_hot", {.divergence = Divergence::kReverseKl, .temperature = 1.5, .weight = 0.7}},
    {"js", {.divergence = Divergence::kJensenShannon, .weight = 1}},
    {"js_cold",
     {.divergence = Divergence::kJensenShannon, .temperature = 0.5, .weight = 0.6, .beta = 0.3}},
    {"hard", {.temperature = 4, .weight = 0}},
};

// |got - want| within a share of |want|, as vectors.
void ExpectNear(std::span<const float> got, std::span<const float> want, double share,
                const std::string& what) {
  ASSERT_EQ(got.size(), want.size()) << what;
  double difference = 0, norm = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    const double d = static_cast<double>(got[i]) - static_cast<double>(want[i]);
    difference += d * d;
    norm += static_cast<double>(want[i]) * static_cast<double>(want[i]);
  }
  EXPECT_LE(std::sqrt(difference), share * std::sqrt(norm)) << what;
}

class DistillationGolden : public ::testing::Test {
 protected:
  DistillationGolden()
      : golden_(SafetensorsFile::Open(GoldenPath("distillation") + "/golden.safetensors")),
        student_(LoadedModel::Load(GoldenPath("train_llama"))),
        teacher_(LoadedModel::Load(GoldenPath("train_mixtral"))),
        scorer_(teacher_.model(), *device_),
        trainer_(student_.model().config, {}, *device_, *ops_) {
    CopyToArena(student_.model(), trainer_.weights().data());
    const auto length = static_cast<size_t>(golden_.Find("tokens")->shape[1]);
    const auto ids = Values<int64_t>(golden_, "tokens");
    for (size_t begin = 0; begin < ids.size(); begin += length) {
      std::vector<int32_t> tokens;
      for (size_t t = 0; t < length; ++t) tokens.push_back(static_cast<int32_t>(ids[begin + t]));
      together_.AddSequence(tokens);
      apart_.emplace_back().AddSequence(tokens);
    }
  }

  void ExpectGolden(const std::string& name, std::span<const TrainingBatch> batches) {
    DistillObjective objective(kCases.at(name), scorer_);
    const StepResult result = trainer_.ComputeGradients(batches, objective);
    const auto losses = Values<double>(golden_, name + ".losses");
    EXPECT_NEAR(result.loss, losses[0], 1e-5 * std::max(1.0, losses[0])) << name;
    EXPECT_NEAR(objective.means().divergence, losses[1], 1e-5) << name;
    EXPECT_NEAR(objective.means().cross_entropy, losses[2], 1e-5 * losses[2]) << name;
    for (const auto& p : trainer_.layout().parameters()) {
      if (golden_.Find(name + "." + p.name) == nullptr) continue;
      ExpectNear(trainer_.gradients().subspan(static_cast<size_t>(p.offset),
                                              static_cast<size_t>(p.size())),
                 Values<float>(golden_, name + "." + p.name), 1e-5, name + " " + p.name);
      ++gradients_checked_;
    }
  }

  std::unique_ptr<Device> device_ = MakeReferenceDevice();
  std::unique_ptr<BackwardOps> ops_ = MakeReferenceBackward();
  SafetensorsFile golden_;
  LoadedModel student_, teacher_;
  ModelScorer scorer_;
  Trainer trainer_;
  TrainingBatch together_;
  std::vector<TrainingBatch> apart_;
  int gradients_checked_ = 0;
};

TEST_F(DistillationGolden, LossesAndGradientsMatchPyTorch) {
  for (const auto& [name, loss] : kCases) {
    ExpectGolden(name, {&together_, 1});
    ExpectGolden(name, apart_);
  }
  EXPECT_EQ(gradients_checked_, static_cast<int>(kCases.size()) * 4 * 2);
}

TEST_F(DistillationGolden, RowsMatchPyTorch) {
  const int64_t vocab = student_.model().config.vocab_size;
  const auto teacher = Values<float>(golden_, "teacher");
  const auto student = Values<float>(golden_, "student");
  const size_t n = static_cast<size_t>(vocab), rows = student.size() / n;
  std::vector<float> scratch;
  for (const auto& [name, loss] : kCases) {
    std::vector<float> gradient(student.begin(), student.end());
    double total = 0;
    for (size_t t = 0; t < rows; ++t) {
      const auto row = std::span(gradient).subspan(t * n, n);
      total += DistillRow(loss, teacher.subspan(t * n, n), together_.targets[t],
                          1.0 / static_cast<double>(rows), row, scratch)
                   .Total(loss);
    }
    const double want = Values<double>(golden_, name + ".losses")[0];
    EXPECT_NEAR(total / static_cast<double>(rows), want, 1e-5 * std::max(1.0, want)) << name;
    ExpectNear(gradient, Values<float>(golden_, name + ".d_logits"), 1e-5, name);
  }
}

std::vector<float> RandomLogits(size_t n, uint64_t seed, double sigma = 3) {
  Random random(seed);
  std::vector<float> logits(n);
  for (float& logit : logits) logit = static_cast<float>(sigma * random.NextNormal());
  return logits;
}

TEST(DistillRow, GradientsAreTheSlopesOfTheLoss) {
  const auto teacher = RandomLogits(12, 1, 2), student = RandomLogits(12, 2, 2);
  std::vector<float> scratch;
  for (const auto& [name, loss] : kCases) {
    auto gradient = student;
    DistillRow(loss, teacher, 5, 1, gradient, scratch);
    for (size_t j = 0; j < student.size(); ++j) {
      const auto loss_at = [&, &of = loss](float logit) {
        auto logits = student;
        logits[j] = logit;
        return DistillRow(of, teacher, 5, 1, logits, scratch).Total(of);
      };
      const float up = student[j] + 0.01f, down = student[j] - 0.01f;
      const double slope =
          (loss_at(up) - loss_at(down)) / (static_cast<double>(up) - static_cast<double>(down));
      EXPECT_NEAR(gradient[j], slope, 1e-3 * (1 + std::abs(slope))) << name << " " << j;
    }
  }
}

TEST(DistillRow, ATeacherThatSaysTheSameTeachesNothing) {
  const auto logits = RandomLogits(50, 3);
  std::vector<float> scratch;
  for (const auto& [name, loss] : kCases) {
    DistillLoss only = loss;
    only.weight = 1;
    auto gradient = logits;
    const auto figures = DistillRow(only, logits, 7, 1, gradient, scratch);
    EXPECT_NEAR(figures.divergence, 0, 1e-6) << name;
    EXPECT_TRUE(figures.agrees);
    for (const float g : gradient) EXPECT_NEAR(g, 0, 1e-6) << name;
  }
}

TEST(DistillRow, SharesItsLossBetweenTeacherAndText) {
  const auto teacher = RandomLogits(20, 4), student = RandomLogits(20, 5);
  std::vector<float> scratch;
  const auto gradient_of = [&](double weight) {
    auto row = student;
    DistillRow({.weight = weight}, teacher, 2, 1, row, scratch);
    return row;
  };
  const auto soft = gradient_of(1), hard = gradient_of(0), mixed = gradient_of(0.25);
  for (size_t j = 0; j < mixed.size(); ++j)
    EXPECT_NEAR(mixed[j], 0.25 * soft[j] + 0.75 * hard[j], 1e-6);
}

TEST(DistillRow, KeepsGradientsOfOneSizeAtAnyTemperature) {
  // For a high temperature the gradient of temperature^2 KL tends to that of half the squared
  // distance of the centred logits, over their number (Hinton et al., section 2.1).
  auto teacher = RandomLogits(10, 6, 1), student = RandomLogits(10, 7, 1);
  std::vector<float> scratch;
  for (auto* logits : {&teacher, &student}) {
    double mean = 0;
    for (const float logit : *logits) mean += static_cast<double>(logit) / 10;
    for (float& logit : *logits) logit -= static_cast<float>(mean);
  }
  auto gradient = student;
  DistillRow({.temperature = 200, .weight = 1}, teacher, 0, 1, gradient, scratch);
  for (size_t j = 0; j < 10; ++j)
    EXPECT_NEAR(gradient[j], (student[j] - teacher[j]) / 10, 3e-3) << j;
}

TEST(DistillRow, StaysFiniteWhereProbabilitiesVanish) {
  std::vector<float> teacher(6, 0), student(6, 0), scratch;
  teacher[0] = 400;
  student[1] = 400;
  for (const auto& [name, loss] : kCases) {
    auto row = student;
    const auto figures = DistillRow(loss, teacher, 0, 1, row, scratch);
    EXPECT_TRUE(std::isfinite(figures.Total(loss))) << name;
    EXPECT_FALSE(figures.agrees);
    for (const float g : row) EXPECT_TRUE(std::isfinite(g)) << name;
  }
  auto row = student;
  const auto js =
      DistillRow({.divergence = Divergence::kJensenShannon}, teacher, 0, 1, row, scratch);
  EXPECT_NEAR(js.divergence, std::numbers::ln2, 1e-6);  // nothing in common
}

TEST(DistillObjective, ClosesTheGapToItsTeacher) {
  ModelConfig dense = model_testing::TinyConfig();
  dense.router = {};
  TinyRun teacher, student({}, dense);
  ModelScorer scorer(teacher.trainer.model(), *teacher.device);
  DistillObjective objective({.weight = 1}, scorer);
  const TrainingBatch batch = RandomBatch(dense, 3);
  const double before = student.trainer.Step({&batch, 1}, 5e-3, objective).loss;
  EXPECT_NEAR(objective.means().divergence, before, 1e-9);
  for (int i = 0; i < 30; ++i) student.trainer.Step({&batch, 1}, 5e-3, objective);
  EXPECT_LT(objective.means().divergence, 0.2 * before);
  EXPECT_GT(objective.means().top1_agreement, 0.5);
}

TEST(DistillObjective, LearnsNothingFromRowsWithoutATarget) {
  ModelConfig dense = model_testing::TinyConfig();
  dense.router = {};
  TinyRun teacher, student({}, dense);
  ModelScorer scorer(teacher.trainer.model(), *teacher.device);
  TrainingBatch batch = RandomBatch(dense, 3);
  for (auto& target : batch.targets) target = -1;
  DistillObjective objective({}, scorer);
  const StepResult result = student.trainer.ComputeGradients({&batch, 1}, objective);
  EXPECT_EQ(result.loss, 0);
  EXPECT_EQ(result.grad_norm, 0);
}

}  // namespace
}  // namespace cadre
