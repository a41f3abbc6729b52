// What the tests of this floor share: a tiny trainer on the reference device.
#pragma once

#include <cmath>
#include <cstring>

#include "model/testing.h"
#include "train/trainer.h"

namespace cadre::train_testing {

// The routers of the one MoE, each with all that training adds to it, on the tiny model.
struct RouterCase {
  const char* name;
  ModelConfig model;
  OptimiserConfig optimiser;
  uint64_t batch_seed = 1;  // of a batch without a choice of experts on the edge
  bool replay = false;      // the batch says which experts its rows use
};

inline std::vector<RouterCase> RouterCases() {
  const auto with = [](RouterConfig router) {
    ModelConfig config = model_testing::TinyConfig();
    config.router = router;
    return config;
  };
  const auto optimiser = [](const RouterLossConfig& losses) {
    OptimiserConfig config;
    static_cast<RouterLossConfig&>(config) = losses;
    config.dropout.seed = 21;
    return config;
  };
  return {
      {"Mixtral", with({.num_experts = 4, .top_k = 2}),
       optimiser({.balance_coefficient = 0.05, .z_coefficient = 0.03}), 2},
      {"Switch",
       with({.num_experts = 4,
             .top_k = 1,
             .softmax = RouterSoftmax::kAll,
             .capacity_factor = 1,
             .jitter = 0.1f}),
       optimiser({.balance_coefficient = 0.05,
                  .balance_form = BalanceForm::kFirstChoice,
                  .z_coefficient = 0.03})},
      {"Noisy", with({.num_experts = 4, .top_k = 2, .noise = true}),
       optimiser({.importance_coefficient = 0.1, .load_coefficient = 0.1})},
      {"Gshard",
       with({.num_experts = 4, .top_k = 2, .capacity_factor = 0.75, .second_by_lot = true}),
       optimiser({.balance_coefficient = 0.5, .balance_form = BalanceForm::kGshard}), 2},
      {"NoisyWithAll",
       with({.num_experts = 4,
             .top_k = 2,
             .softmax = RouterSoftmax::kAll,
             .capacity_factor = 0.8,
             .jitter = 0.2f,
             .noise = true,
             .noise_floor = 0.1f,
             .second_by_lot = true}),
       optimiser({.balance_coefficient = 0.5,
                  .balance_form = BalanceForm::kGshard,
                  .balance_scope = BalanceScope::kModel,
                  .importance_coefficient = 0.1,
                  .load_coefficient = 0.1,
                  .z_coefficient = 0.03})},
  };
}

// Two sequences of random tokens.
inline TrainingBatch RandomBatch(const ModelConfig& config, uint64_t seed, int64_t length = 9) {
  Random random(seed);
  TrainingBatch batch;
  for (int s = 0; s < 2; ++s) {
    std::vector<int32_t> tokens;
    for (int64_t i = 0; i < length; ++i) {
      tokens.push_back(
          static_cast<int32_t>(random.NextBelow(static_cast<uint64_t>(config.vocab_size))));
    }
    batch.AddSequence(tokens);
  }
  return batch;
}

// Routing of another model for every row of the batch, drawn at random: rows whose experts differ.
inline void DrawRoutingTargets(const ModelConfig& config, uint64_t seed, bool probs, bool experts,
                               TrainingBatch& batch) {
  Random random(seed);
  const auto num_experts = static_cast<uint64_t>(config.router.num_experts);
  for (size_t i = 0; i < static_cast<size_t>(config.num_layers) * batch.ids.size(); ++i) {
    std::vector<double> shares;
    double sum = 0;
    for (uint64_t e = 0; e < num_experts; ++e)
      sum += shares.emplace_back(std::exp(random.NextNormal()));
    for (const double share : shares)
      if (probs) batch.routing.probs.push_back(static_cast<float>(share / sum));
    const uint64_t first = random.NextBelow(num_experts);
    for (int64_t c = 0; experts && c < config.router.top_k; ++c) {
      batch.routing.experts.push_back(
          static_cast<int32_t>((first + static_cast<uint64_t>(c)) % num_experts));
    }
  }
}

// A trainer with all it needs.
struct TinyRun {
  explicit TinyRun(const OptimiserConfig& optimiser = {},
                   const ModelConfig& model_config = model_testing::TinyConfig())
      : config(model_config), trainer(config, optimiser, *device, *ops) {
    trainer.Initialise(1, 0.2);
  }
  TinyRun(const TinyRun&) = delete;
  TinyRun& operator=(const TinyRun&) = delete;

  // A step on the batch that belongs to it.
  StepResult Step() {
    return trainer.Step(RandomBatch(config, static_cast<uint64_t>(trainer.step())), 3e-3);
  }

  ModelConfig config;
  std::unique_ptr<Device> device = MakeReferenceDevice();
  std::unique_ptr<BackwardOps> ops = MakeReferenceBackward();
  Trainer trainer;
};

inline bool SameBits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

// Weights, moments and step.
inline bool SameState(Trainer& a, Trainer& b) {
  return a.step() == b.step() && SameBits(a.weights(), b.weights()) &&
         SameBits(a.moment1(), b.moment1()) && SameBits(a.moment2(), b.moment2());
}

}  // namespace cadre::train_testing
