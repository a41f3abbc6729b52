// Training of adapters beside a model that stays as it is stored.
#include <gtest/gtest.h>

#include <cmath>

#include "base/testing.h"
#include "model/load.h"
#include "model/rope_rows.h"
#include "train/checkpoint.h"
#include "train/testing.h"

namespace cadre {
namespace {

using base_testing::TempFolder;
using model_testing::RandomArena;
using model_testing::SaveArenaAsGguf;
using train_testing::RandomBatch;
using train_testing::SameState;

// Wide enough for blocks of 32.
ModelConfig Wide() {
  ModelConfig config = model_testing::TinyConfig();
  config.dim = 32;
  config.hidden_dim = 64;
  config.head_dim = 16;
  return config;
}

ModelConfig Dense() {
  ModelConfig config = Wide();
  config.architecture = "mistral";
  config.router = {};
  return config;
}

// A trainer of adapters beside a GGUF file of random weights.
struct AdapterRun {
  AdapterRun(const ModelConfig& config, DType type)
      : base(Save(config, type)),
        layout(base.model(), AdaptersFor(config, {.rank = 3})),
        trainer(layout, {}, *device, *ops) {
    InitialiseAdapters(layout, 7, trainer.weights().data());
  }
  AdapterRun(const AdapterRun&) = delete;

  LoadedModel Save(const ModelConfig& config, DType type) const {
    const ParameterLayout all(config);
    Buffer<float> values = RandomArena(all);
    for (int64_t i = 0; i < values.size(); ++i) values[i] *= 0.5f;
    SaveArenaAsGguf(config, values, type, folder / "base.gguf");
    return LoadedModel::Load(folder / "base.gguf");
  }

  TempFolder folder;
  std::unique_ptr<Device> device = MakeReferenceDevice();
  std::unique_ptr<BackwardOps> ops = MakeReferenceBackward();
  LoadedModel base;
  ParameterLayout layout;
  Trainer trainer;
};

// With W = base + scale * up down, a full trainer knows dW; up's gradient is scale * dW down^T and
// down's scale * up^T dW. Rows of q and k lie in another order there.
void ExpectGradientsOfTheWholeWeights(const ModelConfig& config, DType type) {
  AdapterRun run(config, type);
  const Buffer<float> values = RandomArena(run.layout, 3);
  std::copy_n(values.data(), values.size(), run.trainer.weights().data());
  const TrainingBatch batch = RandomBatch(config, 2);
  const StepResult result = run.trainer.ComputeGradients(batch);

  TempFolder folder;
  ThreadPool threads(2);
  SaveSafetensors(run.trainer.model(), HuggingFaceFloats(), threads, folder.path());
  const auto merged = LoadedModel::Load(folder.path());
  Trainer whole(merged.model().config, {}, *run.device, *run.ops);
  CopyToArena(merged.model(), whole.weights().data());
  EXPECT_NEAR(whole.ComputeGradients(batch).objective, result.objective, 1e-4);

  for (size_t i = 0; i < run.layout.adapters().size(); ++i) {
    const Adapter& adapter = run.layout.adapters()[i];
    const LowRank low_rank = run.layout.LowRankOf(i, run.trainer.weights().data());
    const LowRank gradient =
        run.layout.LowRankOf(i, const_cast<float*>(run.trainer.gradients().data()));
    const Weight& weight = MatrixOf(whole.model().weights, adapter);
    const float* d_weight = whole.gradients().data() +
                            (reinterpret_cast<const float*>(weight.data) - whole.weights().data());
    const bool rotated =
        adapter.matrix == AdaptedMatrix::kQuery || adapter.matrix == AdaptedMatrix::kKey;
    const auto at = [](const Weight& w, int64_t row, int64_t col) {
      return double{reinterpret_cast<const float*>(w.row(row))[col]};
    };
    double difference = 0, size = 0;
    const auto compare = [&](double expected, double got) {
      difference += (got - expected) * (got - expected);
      size += expected * expected;
    };
    for (int64_t r = 0; r < 3; ++r) {
      std::vector<double> d_down(static_cast<size_t>(weight.cols));
      for (int64_t n = 0; n < weight.rows; ++n) {
        const int64_t row = rotated ? InterleavedRow(n, config.head_dim) : n;
        double d_up = 0;
        for (int64_t k = 0; k < weight.cols; ++k) {
          const double d = 2 * double{d_weight[n * weight.cols + k]};  // scale 2
          d_up += d * at(low_rank.down, r, k);
          d_down[static_cast<size_t>(k)] += d * at(low_rank.up, row, r);
        }
        compare(d_up, at(gradient.up, row, r));
      }
      for (int64_t k = 0; k < weight.cols; ++k)
        compare(d_down[static_cast<size_t>(k)], at(gradient.down, r, k));
    }
    EXPECT_GT(size, 0) << ModuleOf(adapter, config.router.dense());
    EXPECT_LE(std::sqrt(difference), 1e-3 * std::sqrt(size))
        << ModuleOf(adapter, config.router.dense());
  }
}

TEST(AdapterTraining, HasTheGradientsOfTheWholeWeights) {
  for (const auto type : {DType::kF32, DType::kQ8_0, DType::kQ4_0}) {
    ExpectGradientsOfTheWholeWeights(Wide(), type);
    ExpectGradientsOfTheWholeWeights(Dense(), type);
  }
}

TEST(AdapterTraining, LearnsBesideAQuantisedModelThatStaysAsItIs) {
  for (const auto& config : {Wide(), Dense()}) {
    AdapterRun run(config, DType::kQ4_0);
    const TrainingBatch batch = RandomBatch(config, 1);
    const double before = run.trainer.Evaluate(batch);
    const auto plain = model_testing::ReferenceLogits(run.base.model(), {3, 4, 5});
    EXPECT_EQ(model_testing::ReferenceLogits(run.trainer.model(), {3, 4, 5}), plain);
    for (int i = 0; i < 30; ++i) run.trainer.Step(batch, 1e-2);
    EXPECT_LT(run.trainer.Evaluate(batch), 0.7 * before);
    EXPECT_EQ(model_testing::ReferenceLogits(run.base.model(), {3, 4, 5}), plain);
    EXPECT_NE(model_testing::ReferenceLogits(run.trainer.model(), {3, 4, 5}), plain);
  }
}

TEST(AdapterTraining, GoesOnFromACheckpointInTheSameBits) {
  AdapterRun run(Wide(), DType::kQ8_0), other(Wide(), DType::kQ8_0);
  const auto step = [](Trainer& trainer) {
    trainer.Step(RandomBatch(Wide(), static_cast<uint64_t>(trainer.step())), 3e-3);
  };
  for (int i = 0; i < 3; ++i) step(run.trainer);
  const TrainingCheckpoints checkpoints(run.folder / "checkpoints");
  checkpoints.Save(run.trainer, "{}");
  ASSERT_TRUE(checkpoints.Restore(other.trainer, "{}"));
  for (int i = 0; i < 2; ++i) {
    step(run.trainer);
    step(other.trainer);
  }
  EXPECT_TRUE(SameState(run.trainer, other.trainer));
}

}  // namespace
}  // namespace cadre
