// Gradients and ten AdamW steps against PyTorch (tests/goldens/train_*, float64), on every device.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "formats/safetensors.h"
#include "model/load.h"
#include "tests/devices.h"
#include "train/trainer.h"

namespace cadre {
namespace {

template <typename T>
std::span<const T> Values(const SafetensorsFile& file, const std::string& name) {
  const auto* entry = file.Find(name);
  if (entry == nullptr) throw std::runtime_error("golden without " + name);
  return {reinterpret_cast<const T*>(entry->data.data()), entry->data.size() / sizeof(T)};
}

class TrainingGolden : public testing::TestWithParam<std::string> {
 protected:
  // A trainer with the golden's weights, its batches, and the settings that made it.
  void Open(const std::string& name) {
    const std::string folder = SourcePath("tests/goldens/" + name);
    const auto loaded = LoadedModel::Load(folder);
    steps_ =
        std::make_unique<SafetensorsFile>(SafetensorsFile::Open(folder + "/steps.safetensors"));
    device_ = MakeDevice(GetParam(), threads_);
    ops_ = MakeBackward(GetParam(), threads_);
    OptimiserConfig optimiser;
    optimiser.balance_scope = BalanceScope::kModel;  // as transformers, whose numbers these are
    optimiser.balance_coefficient = loaded.model().config.router_aux_loss_coef;
    trainer_ = std::make_unique<Trainer>(loaded.model().config, optimiser, *device_, *ops_);
    CopyToArena(loaded.model(), trainer_->weights().data());
  }

  TrainingBatch BatchOf(int64_t step) const {
    const auto* entry = steps_->Find("ids");
    const int64_t num_sequences = entry->shape[1], length = entry->shape[2];
    const auto ids = Values<int64_t>(*steps_, "ids");
    TrainingBatch batch;
    for (int64_t s = 0; s < num_sequences; ++s) {
      // transformers runs the last token too, without a target: it counts in the balance loss.
      for (int64_t t = 0; t < length; ++t) {
        const auto at = static_cast<size_t>((step * num_sequences + s) * length + t);
        batch.ids.push_back(static_cast<int32_t>(ids[at]));
        batch.targets.push_back(t + 1 < length ? static_cast<int32_t>(ids[at + 1]) : -1);
        batch.positions.push_back(t);
        batch.sequence_of_row.push_back(static_cast<int32_t>(s));
      }
      ++batch.num_sequences;
    }
    return batch;
  }

  void ExpectGradients(const std::string& name) {
    const auto grads =
        SafetensorsFile::Open(SourcePath("tests/goldens/" + name + "/grads.safetensors"));
    for (const auto& p : trainer_->layout().parameters()) {
      const auto expected = Values<float>(grads, p.name);
      ASSERT_EQ(static_cast<int64_t>(expected.size()), p.size()) << p.name;
      double difference = 0, norm = 0;
      for (int64_t i = 0; i < p.size(); ++i) {
        const double want = expected[static_cast<size_t>(i)];
        const double got = trainer_->gradients()[static_cast<size_t>(p.offset + i)];
        difference += (got - want) * (got - want);
        norm += want * want;
      }
      EXPECT_LE(std::sqrt(difference), 1e-4 * std::sqrt(norm)) << p.name;
    }
  }

  ThreadPool threads_{2};
  std::unique_ptr<Device> device_;
  std::unique_ptr<BackwardOps> ops_;
  std::unique_ptr<SafetensorsFile> steps_;
  std::unique_ptr<Trainer> trainer_;
};

TEST_P(TrainingGolden, MixtralGradientsMatch) {
  Open("train_mixtral");
  trainer_->ComputeGradients(BatchOf(0));
  ExpectGradients("train_mixtral");
}

TEST_P(TrainingGolden, TiedLlamaGradientsMatch) {
  Open("train_llama");
  trainer_->ComputeGradients(BatchOf(0));
  ExpectGradients("train_llama");
}

TEST_P(TrainingGolden, TenStepsMatch) {
  Open("train_mixtral");
  for (int64_t step = 0; step < 10; ++step) {
    const StepResult result = trainer_->Step(BatchOf(step), 1e-2);
    const auto at = static_cast<size_t>(step);
    const auto relative = [&](double got, const char* name) {
      const double want = Values<float>(*steps_, name)[at];
      EXPECT_NEAR(got, want, 1e-4 * std::abs(want)) << name << " of step " << step;
    };
    relative(result.loss, "loss");
    relative(result.objective, "cross_entropy");
    relative(result.balance, "aux_loss");
  }
  const auto final_weights =
      SafetensorsFile::Open(SourcePath("tests/goldens/train_mixtral/final.safetensors"));
  for (const auto& p : trainer_->layout().parameters()) {
    const auto expected = Values<float>(final_weights, p.name);
    for (int64_t i = 0; i < p.size(); ++i) {
      EXPECT_NEAR(trainer_->weights()[static_cast<size_t>(p.offset + i)],
                  expected[static_cast<size_t>(i)], 2e-3)
          << p.name << " " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, TrainingGolden, testing::ValuesIn(DeviceNames()),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace cadre
