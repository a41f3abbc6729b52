// One training step and the state it changes: weights, two moments, the step number. Nothing else
// of a run is state; the batch of a step and its dropout are functions of the step number.
#pragma once

#include <memory>

#include "model/kv_cache.h"
#include "train/backward.h"

namespace cadre {

// The rows of one step: whole sequences, one after another, each from position 0.
struct TrainingBatch {
  std::vector<int32_t> ids;              // [T]
  std::vector<int32_t> targets;          // [T] the next token; -1: not trained on
  std::vector<int64_t> positions;        // [T]
  std::vector<int32_t> sequence_of_row;  // [T]
  int64_t num_sequences = 0;
  std::vector<uint8_t> mask;  // [T] 0: padding, which the router's losses leave out; empty: none

  // Appends a sequence: tokens[0, n - 1) as inputs, tokens[1, n) as targets.
  void AddSequence(std::span<const int32_t> tokens);
  void Clear();
};

struct OptimiserConfig : RouterLossConfig {
  float beta1 = 0.9f;
  float beta2 = 0.95f;
  float epsilon = 1e-8f;
  float weight_decay = 0.1f;  // of matrices; norms are not decayed
  double clip_norm = 1.0;     // of the whole gradient; 0: never
  DropoutSettings dropout;    // and the router's draws; its step is set by the trainer
};

struct StepResult {
  double loss = 0;           // cross_entropy + the router's losses, each times its coefficient
  double cross_entropy = 0;  // nats per target
  double balance = 0;        // train/losses.h says what it is when balanced
  double importance = 0, load = 0, z = 0;  // 0 where their coefficients are
  double grad_norm = 0;                    // before clipping
  int64_t targets = 0;
  std::vector<double> layer_load;  // [layers * E] choices per token
  std::vector<double> drop_rate;   // [layers] share of the choices that found their expert full
};

class Trainer {
 public:
  // Weights are zero until set. Device and ops outlive the trainer.
  Trainer(const ModelConfig& config, const OptimiserConfig& optimiser, Device& device,
          BackwardOps& ops);

  // Normal draws of deviation `sigma` for matrices, those that write to the residual stream divided
  // by sqrt(2 layers) (GPT-2); ones for norms; zeros for W_noise (Shazeer 2017).
  void Initialise(uint64_t seed, double sigma = 0.02);

  // Forward, backward, clip, AdamW. Step numbers count from 1.
  StepResult Step(const TrainingBatch& batch, double learning_rate);
  // Forward and backward only; gradients() holds the result.
  StepResult ComputeGradients(const TrainingBatch& batch);
  // The summed cross-entropy of the targets in nats; changes nothing. As the model will be run:
  // without dropout, jitter, noise or capacity.
  double Evaluate(const TrainingBatch& batch);

  const ParameterLayout& layout() const { return layout_; }
  const Model& model() const { return model_; }
  int64_t step() const { return step_; }
  void set_step(int64_t step) { step_ = step; }
  std::span<float> weights() { return weights_.span(); }
  std::span<float> moment1() { return moment1_.span(); }
  std::span<float> moment2() { return moment2_.span(); }
  std::span<const float> gradients() const { return gradients_.span(); }

 private:
  Mat<float> RunForward(const Model& model, const TrainingBatch& batch, Activations& activations,
                        const ForwardOptions& options);
  void ApplyAdamW(double learning_rate, double gradient_scale);

  ModelConfig config_;
  OptimiserConfig optimiser_;
  Device& device_;
  BackwardOps& ops_;
  ParameterLayout layout_;
  Buffer<float> weights_, gradients_, moment1_, moment2_;
  Model model_;
  Model evaluation_model_;  // the same weights with the router as it runs outside training
  ResidentExperts experts_;
  Activations activations_;
  Activations evaluation_activations_;
  BackwardScratch scratch_;
  KvPagePool pages_;
  std::vector<KvCache> caches_;
  std::vector<KvSequence> sequences_;
  std::vector<int64_t> all_rows_;
  Batch batch_;
  Buffer<float> logits_;
  std::vector<float> losses_;
  int64_t step_ = 0;
};

}  // namespace cadre
