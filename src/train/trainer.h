// One training step and the state it changes: weights, two moments, the step number. Nothing else
// of a run is state; the batches of a step and their dropout are functions of the step number.
#pragma once

#include <memory>
#include <string_view>

#include "train/backward.h"
#include "train/batch.h"
#include "train/objective.h"
#include "train/training_device.h"

namespace cadre {

// The parts of a model that can be left as they are.
enum class ModelPart { kEmbedding, kAttention, kRouter, kExperts, kNorms, kHead };
ModelPart PartOf(const Parameter& parameter);

struct OptimiserConfig : RouterLossConfig {
  float beta1 = 0.9f;
  float beta2 = 0.95f;
  float epsilon = 1e-8f;
  float weight_decay = 0.1f;  // of matrices; norms are not decayed
  double clip_norm = 1.0;     // of the whole gradient; 0: never
  // kF32, or kBF16: matrix products with both factors rounded, the router's excepted; weights,
  // sums, gradients and moments are float32 in either.
  ActivationType precision = ActivationType::kF32;
  DropoutSettings dropout;        // and the router's draws; its step is set by the trainer
  std::vector<ModelPart> frozen;  // neither updated nor decayed; not in the gradient's norm
};

struct StepResult {
  double loss = 0;       // objective + the router's losses, each times its coefficient
  double objective = 0;  // nats per target for cross-entropy
  double balance = 0;    // train/losses.h says what it is when balanced
  double importance = 0, load = 0, z = 0;  // 0 where their coefficients are
  double anchor = 0;                       // nats; likewise
  double grad_norm = 0;                    // before clipping
  int64_t targets = 0;
  int64_t rows = 0;
  std::vector<double> layer_load;  // [layers * E] choices per token
  std::vector<double> drop_rate;   // [layers] share of the choices that found their expert full
};

class Trainer {
 public:
  // All weights of a model. They are zero until set. Device and ops outlive the trainer.
  Trainer(const ModelConfig& config, const OptimiserConfig& optimiser, Device& device,
          BackwardOps& ops);
  // What the layout is of; "weights" below are those.
  Trainer(ParameterLayout layout, const OptimiserConfig& optimiser, Device& device,
          BackwardOps& ops);

  // Normal draws of deviation `sigma` for matrices, those that write to the residual stream divided
  // by sqrt(2 layers) (GPT-2); ones for norms; zeros for W_noise (Shazeer 2017). Not of adapters.
  void Initialise(uint64_t seed, double sigma = 0.02);

  // Forward, backward, clip, AdamW. Step numbers count from 1. The batches of one step run one
  // after another and their gradients add up, so that memory is that of the largest. The
  // router's losses are each batch's own, weighted by its rows.
  StepResult Step(std::span<const TrainingBatch> batches, double learning_rate,
                  Objective& objective);
  // Of one batch, towards cross-entropy.
  StepResult Step(const TrainingBatch& batch, double learning_rate);
  // Forward and backward only; gradients() holds the result.
  StepResult ComputeGradients(std::span<const TrainingBatch> batches, Objective& objective);
  StepResult ComputeGradients(const TrainingBatch& batch);
  // -log p of each row's target in nats, 0 where there is none; changes nothing. As the model will
  // be run: without dropout, jitter, noise or capacity. Valid until the next call.
  std::span<const float> TokenLosses(const TrainingBatch& batch);
  // Their sum.
  double Evaluate(const TrainingBatch& batch);
  // What the routers choose for each row, as the model will be run: also with activations rounded
  // for weights that are stored in fewer bits, which is several times as quick. No logits.
  void ObserveRouting(const TrainingBatch& batch, const RoutingObserver& observer);

  const ParameterLayout& layout() const { return layout_; }
  const Model& model() const { return model_; }
  // What it runs forward on.
  Device& device() { return device_; }
  const OptimiserConfig& optimiser() const { return optimiser_; }
  int64_t step() const { return step_; }
  void set_step(int64_t step) { step_ = step; }
  std::span<float> weights() { return weights_.span(); }
  std::span<float> moment1() { return moment1_.span(); }
  std::span<float> moment2() { return moment2_.span(); }
  std::span<const float> gradients() const { return gradients_.span(); }

 private:
  void SetBatch(const TrainingBatch& batch, std::span<const int32_t> given_experts);
  Mat<float> RunForward(const Model& model, const TrainingBatch& batch, Activations& activations,
                        const ForwardOptions& options, std::span<const int32_t> given_experts);
  void AddGradients(const TrainingBatch& batch, size_t index, double share, Objective& objective,
                    StepResult& result);
  bool IsFrozen(const Parameter& parameter) const;
  void ApplyAdamW(double learning_rate, double gradient_scale);

  ParameterLayout layout_;
  ModelConfig config_;
  OptimiserConfig optimiser_;
  TrainingDevice device_;
  BackwardOps& ops_;
  Buffer<float> weights_, gradients_, moment1_, moment2_;
  Model model_;
  Model evaluation_model_;  // the same weights with the router as it runs outside training
  ResidentExperts experts_;
  Activations activations_;
  Activations evaluation_activations_;
  BackwardScratch scratch_;
  std::vector<int64_t> all_rows_;
  Batch batch_;
  Buffer<float> logits_;
  std::vector<float> losses_;
  CrossEntropy cross_entropy_;
  int64_t step_ = 0;
};

}  // namespace cadre
