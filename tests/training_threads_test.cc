// A training run does not depend on the number of threads: weights and moments after three steps,
// bit for bit, on each instruction set, with dropout and with sequences longer than a block of the
// cache.
#include <gtest/gtest.h>

#include "base/random.h"
#include "tests/devices.h"
#include "train/trainer.h"

namespace cadre {
namespace {

ModelConfig Config() {
  ModelConfig config;
  config.dim = 48;
  config.hidden_dim = 80;
  config.num_layers = 2;
  config.num_heads = 4;
  config.num_kv_heads = 2;
  config.head_dim = 16;
  config.vocab_size = 300;
  config.context_length = 512;
  config.rope_theta = 1e4;
  config.router = {.num_experts = 4, .top_k = 2};
  return config;
}

TrainingBatch BatchOf(uint64_t step) {
  Random random(step);
  TrainingBatch batch;
  for (const int64_t length : {kKvBlock + 40, int64_t{3}, int64_t{70}, int64_t{2}}) {
    std::vector<int32_t> tokens;
    for (int64_t i = 0; i < length; ++i)
      tokens.push_back(static_cast<int32_t>(random.NextBelow(300)));
    batch.AddSequence(tokens);
  }
  return batch;
}

struct Outcome {
  std::vector<float> weights, moment1, moment2;
  std::vector<double> losses;
  bool operator==(const Outcome&) const = default;
};

// A router with everything that training can add to one.
RouterConfig BusyRouter() {
  return {.num_experts = 4,
          .top_k = 2,
          .softmax = RouterSoftmax::kAll,
          .capacity_factor = 0.9,
          .jitter = 0.1f,
          .noise = true};
}

Outcome ThreeSteps(const std::string& device_name, int num_threads, bool busy_router,
                   ActivationType precision) {
  ThreadPool threads(num_threads);
  const auto device = MakeDevice(device_name, threads);
  const auto ops = MakeBackward(device_name, threads);
  OptimiserConfig optimiser;
  optimiser.balance_coefficient = 0.02;
  optimiser.precision = precision;
  optimiser.dropout = {.rate = 0.1f, .expert_rate = 0.1f, .seed = 3};
  ModelConfig config = Config();
  if (busy_router) {
    config.router = BusyRouter();
    optimiser.importance_coefficient = optimiser.load_coefficient = 0.1;
    optimiser.z_coefficient = 1e-3;
  }
  Trainer trainer(config, optimiser, *device, *ops);
  trainer.Initialise(1, 0.1);
  Outcome outcome;
  for (uint64_t step = 0; step < 3; ++step)
    outcome.losses.push_back(trainer.Step(BatchOf(step), 1e-3).loss);
  outcome.weights.assign(trainer.weights().begin(), trainer.weights().end());
  outcome.moment1.assign(trainer.moment1().begin(), trainer.moment1().end());
  outcome.moment2.assign(trainer.moment2().begin(), trainer.moment2().end());
  return outcome;
}

class TrainingThreads : public ::testing::TestWithParam<std::string> {};

TEST_P(TrainingThreads, DoNotChangeABitOfTheWeights) {
  for (const auto& [busy_router, precision] : {std::pair{false, ActivationType::kF32},
                                               {true, ActivationType::kF32},
                                               {false, ActivationType::kBF16}}) {
    const Outcome one = ThreeSteps(GetParam(), 1, busy_router, precision);
    EXPECT_TRUE(ThreeSteps(GetParam(), 2, busy_router, precision) == one);
    EXPECT_TRUE(ThreeSteps(GetParam(), 3, busy_router, precision) == one);
  }
}

std::vector<std::string> ThreadedDevices() {
  auto names = DeviceNames();
  std::erase(names, "reference");  // has one thread whatever it is given
  return names;
}

INSTANTIATE_TEST_SUITE_P(All, TrainingThreads, ::testing::ValuesIn(ThreadedDevices()),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace cadre
