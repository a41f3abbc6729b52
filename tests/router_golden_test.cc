// Every router and every loss of one against PyTorch and transformers (tests/goldens/routers,
// float64), gradients included, on every device.
#include <gtest/gtest.h>

#include <cmath>

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

SafetensorsFile OpenGolden(const std::string& name) {
  return SafetensorsFile::Open(SourcePath("tests/goldens/routers/" + name + ".safetensors"));
}

struct Case {
  const char* name;
  RouterConfig router;
  RouterLossConfig losses;
};

std::vector<Case> Cases() {
  return {
      {"switch",
       {.num_experts = 4,
        .top_k = 1,
        .softmax = RouterSoftmax::kAll,
        .capacity_factor = 1,
        .jitter = 0.1f},
       {.balance_coefficient = 0.05,
        .balance_form = BalanceForm::kFirstChoice,
        .z_coefficient = 0.01}},
      {"noisy",
       {.num_experts = 4, .top_k = 2, .noise = true, .noise_floor = 0.01f},
       {.importance_coefficient = 0.1, .load_coefficient = 0.1}},
      {"gshard",
       {.num_experts = 4, .top_k = 2, .capacity_factor = 0.75},
       {.balance_coefficient = 0.5, .balance_form = BalanceForm::kGshard, .z_coefficient = 0.02}},
      {"busy",
       {.num_experts = 4,
        .top_k = 2,
        .softmax = RouterSoftmax::kAll,
        .capacity_factor = 0.9,
        .jitter = 0.2f,
        .noise = true,
        .noise_floor = 0.1f},
       {.balance_coefficient = 0.05,
        .balance_scope = BalanceScope::kModel,
        .importance_coefficient = 0.1,
        .load_coefficient = 0.2,
        .z_coefficient = 0.01}},
      {"held",
       {.num_experts = 4, .top_k = 2},
       {.balance_coefficient = 0.05,
        .balance_form = BalanceForm::kFirstChoice,
        .anchor_coefficient = 0.5}},
      {"lots",
       {.num_experts = 4,
        .top_k = 2,
        .capacity_factor = 0.75,
        .jitter = 0.1f,
        .second_by_lot = true},
       {.balance_coefficient = 0.5, .balance_form = BalanceForm::kGshard}}};
}

// What the golden keeps of a large gradient.
std::array<double, 4> Projections(std::span<const float> gradient) {
  std::array<double, 4> sums{};
  for (size_t i = 0; i < gradient.size(); ++i) {
    for (size_t j = 0; j < 4; ++j)
      sums[j] +=
          static_cast<double>(gradient[i]) *
          std::cos(static_cast<double>(j + 1) * static_cast<double>(i) + static_cast<double>(j));
  }
  return sums;
}

class RouterGolden : public testing::TestWithParam<std::string> {
 protected:
  void Open(const Case& c) {
    golden_ = std::make_unique<SafetensorsFile>(OpenGolden(c.name));
    const auto loaded = LoadedModel::Load(SourcePath("tests/goldens/train_mixtral"));
    ModelConfig config = loaded.model().config;
    config.router = c.router;
    OptimiserConfig optimiser;
    static_cast<RouterLossConfig&>(optimiser) = c.losses;
    optimiser.dropout.seed = 11;
    device_ = MakeDevice(GetParam(), threads_);
    ops_ = MakeBackward(GetParam(), threads_);
    trainer_ = std::make_unique<Trainer>(config, optimiser, *device_, *ops_);
    CopyToArena(loaded.model(), trainer_->layout(), trainer_->weights().data());
    for (const auto& p : trainer_->layout().parameters()) {
      if (!p.is_router_noise) continue;
      const auto noise = Values<float>(*golden_, p.name);
      std::copy(noise.begin(), noise.end(), trainer_->weights().begin() + p.offset);
    }
  }

  TrainingBatch BatchOf() const {
    const auto* entry = golden_->Find("ids");
    const int64_t num_sequences = entry->shape[0], length = entry->shape[1];
    const auto ids = Values<int64_t>(*golden_, "ids");
    const auto counted = Values<uint8_t>(*golden_, "counted");
    TrainingBatch batch;
    for (int64_t s = 0; s < num_sequences; ++s) {
      for (int64_t t = 0; t < length; ++t) {
        const auto at = static_cast<size_t>(s * length + t);
        const bool target = t + 1 < length && counted[at + 1] != 0;
        batch.ids.push_back(static_cast<int32_t>(ids[at]));
        batch.targets.push_back(target ? static_cast<int32_t>(ids[at + 1]) : -1);
        batch.positions.push_back(t);
        batch.sequence_of_row.push_back(static_cast<int32_t>(s));
      }
      ++batch.num_sequences;
    }
    batch.mask.assign(counted.begin(), counted.end());
    if (golden_->Find("probs") != nullptr) {  // another model's routing, to be held to and replayed
      const auto probs = Values<float>(*golden_, "probs");
      const auto experts = Values<int32_t>(*golden_, "experts");
      batch.routing = {{probs.begin(), probs.end()}, {experts.begin(), experts.end()}};
    }
    return batch;
  }

  void ExpectGradients() {
    for (const auto& p : trainer_->layout().parameters()) {
      const std::span<const float> got = trainer_->gradients().subspan(
          static_cast<size_t>(p.offset), static_cast<size_t>(p.size()));
      const double norm = Values<double>(*golden_, "norm." + p.name)[0];
      const double bound = 1e-4 * norm;
      if (golden_->Find("grad." + p.name)->type == SafetensorsType::kF32) {
        const auto want = Values<float>(*golden_, "grad." + p.name);
        ASSERT_EQ(want.size(), got.size()) << p.name;
        double squares = 0;
        for (size_t i = 0; i < want.size(); ++i)
          squares += std::pow(static_cast<double>(got[i]) - static_cast<double>(want[i]), 2);
        EXPECT_LE(std::sqrt(squares), bound) << p.name;
        continue;
      }
      const auto want = Values<double>(*golden_, "grad." + p.name);
      const auto sums = Projections(got);
      // A difference of norm b times a vector of cosines: b / sqrt(2) as a rule; 4 b is far out.
      for (size_t j = 0; j < 4; ++j) EXPECT_NEAR(sums[j], want[j], 4 * bound) << p.name << " " << j;
    }
  }

  ThreadPool threads_{2};
  std::unique_ptr<SafetensorsFile> golden_;
  std::unique_ptr<Device> device_;
  std::unique_ptr<BackwardOps> ops_;
  std::unique_ptr<Trainer> trainer_;
};

TEST_P(RouterGolden, LossesDropsAndGradientsMatch) {
  for (const Case& c : Cases()) {
    SCOPED_TRACE(c.name);
    Open(c);
    const StepResult result = trainer_->ComputeGradients(BatchOf());
    const auto expect = [&](double got, const std::string& name) {
      const double want = Values<double>(*golden_, name)[0];
      EXPECT_NEAR(got, want, 2e-5 * std::abs(want)) << name;
    };
    expect(result.loss, "loss");
    expect(result.objective, "cross_entropy");
    if (c.losses.balance_coefficient != 0) expect(result.balance, "balance");
    if (c.losses.importance_coefficient != 0) expect(result.importance, "importance");
    if (c.losses.load_coefficient != 0) expect(result.load, "load");
    if (c.losses.z_coefficient != 0) expect(result.z, "z");
    if (c.losses.anchor_coefficient != 0) expect(result.anchor, "anchor");
    const auto drop_rate = Values<double>(*golden_, "drop_rate");
    EXPECT_EQ(result.drop_rate, std::vector<double>(drop_rate.begin(), drop_rate.end()));
    ExpectGradients();
  }
}

INSTANTIATE_TEST_SUITE_P(All, RouterGolden, testing::ValuesIn(DeviceNames()),
                         [](const auto& test) { return test.param; });

// transformers' load_balancing_loss_func, with and without an attention mask.
TEST(BalanceGolden, EqualsTransformers) {
  const auto golden = OpenGolden("balance");
  const auto* entry = golden.Find("logits");
  ModelConfig config;
  config.dim = config.hidden_dim = config.vocab_size = 1;
  config.num_heads = config.num_kv_heads = 1;
  config.head_dim = 2;
  config.num_layers = entry->shape[0];
  const int64_t rows = entry->shape[1], num_experts = entry->shape[2];
  const auto logits = Values<float>(golden, "logits");
  const auto mask = Values<uint8_t>(golden, "mask");
  for (const int64_t k : {1, 2, 3}) {
    config.router = {.num_experts = num_experts, .top_k = k};
    Activations activations(config, Activations::Keep::kEveryLayer);
    activations.SetTokens(rows);
    for (int64_t l = 0; l < config.num_layers; ++l) {
      const auto from = logits.subspan(static_cast<size_t>(l * rows * num_experts),
                                       static_cast<size_t>(rows * num_experts));
      std::copy(from.begin(), from.end(), activations.layer(l).router_logits.data);
      ChooseExperts(activations.layer(l).router_logits, config.router, {},
                    activations.layer(l).routing);
    }
    for (const std::string name : {"plain", "masked"}) {
      const auto losses = ComputeRouterLosses(
          activations, config, {.balance_coefficient = 1, .balance_scope = BalanceScope::kModel},
          name == "masked" ? mask : std::span<const uint8_t>());
      EXPECT_NEAR(losses.balance, Values<double>(golden, fmt::format("{}.{}", name, k))[0], 1e-6);
      if (k != 2) continue;
      const auto want = Values<float>(golden, "grad." + name + ".2");
      for (int64_t l = 0; l < config.num_layers; ++l) {
        std::vector<float> d(static_cast<size_t>(rows * num_experts), 0);
        AddBalanceGradient(losses, l, activations.layer(l).routing, {d.data(), rows, num_experts});
        for (size_t i = 0; i < d.size(); ++i)
          EXPECT_NEAR(d[i], want[static_cast<size_t>(l) * d.size() + i], 1e-7) << name << l << i;
      }
    }
  }
}

}  // namespace
}  // namespace cadre
