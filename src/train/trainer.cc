#include "train/trainer.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/log.h"
#include "base/random.h"

namespace cadre {
namespace {

ModelConfig ForInference(ModelConfig config) {
  config.router = config.router.ForInference();
  return config;
}

void AddTimes(double factor, const std::vector<double>& values, std::vector<double>& sums) {
  sums.resize(values.size());
  for (size_t i = 0; i < values.size(); ++i) sums[i] += factor * values[i];
}

}  // namespace

ModelPart PartOf(const Parameter& parameter) {
  const auto has = [&](std::string_view part) {
    return parameter.name.find(part) != std::string::npos;
  };
  if (parameter.is_norm) return ModelPart::kNorms;
  if (has("embed_tokens")) return ModelPart::kEmbedding;
  if (has("lm_head")) return ModelPart::kHead;
  if (has("self_attn")) return ModelPart::kAttention;
  return has(".gate.weight") || parameter.is_router_noise ? ModelPart::kRouter
                                                          : ModelPart::kExperts;
}

Trainer::Trainer(const ModelConfig& config, const OptimiserConfig& optimiser, Device& device,
                 BackwardOps& ops)
    : Trainer(ParameterLayout(config), optimiser, device, ops) {}

Trainer::Trainer(ParameterLayout layout, const OptimiserConfig& optimiser, Device& device,
                 BackwardOps& ops)
    : layout_(std::move(layout)),
      config_(layout_.config()),
      optimiser_(optimiser),
      device_(device, ops),
      ops_(ops),
      weights_(layout_.size()),
      gradients_(layout_.size()),
      moment1_(layout_.size()),
      moment2_(layout_.size()),
      model_(layout_.Bind(weights_.data())),
      evaluation_model_(model_),
      experts_(model_.weights),
      activations_(config_, Activations::Keep::kEveryLayer),
      evaluation_activations_(ForInference(config_), Activations::Keep::kOneLayer),
      scratch_(config_) {
  evaluation_model_.config = ForInference(evaluation_model_.config);
  if (optimiser.precision == ActivationType::kBF16 && !device.multiplies_bf16())
    log::warn("this processor does not multiply BF16: train.precision=f32 is quicker here");
}

void Trainer::Initialise(uint64_t seed, double sigma) {
  CADRE_CHECK(layout_.adapters().empty());
  const double residual_sigma = sigma / std::sqrt(2.0 * static_cast<double>(config_.num_layers));
  uint64_t stream = 0;
  for (const auto& p : layout_.parameters()) {
    const std::span<float> values(weights_.data() + p.offset, static_cast<size_t>(p.size()));
    if (p.is_router_noise) {  // takes no stream: the other weights are those of a run without it
      std::fill(values.begin(), values.end(), 0.0f);
      continue;
    }
    const bool to_residual = p.name.ends_with("o_proj.weight") || p.name.ends_with("w2.weight") ||
                             p.name.ends_with("down_proj.weight");
    Random random(seed, ++stream);
    for (float& value : values) {
      value =
          p.is_norm
              ? 1.0f
              : static_cast<float>(random.NextNormal() * (to_residual ? residual_sigma : sigma));
    }
  }
}

// Every row's logits are wanted.
void Trainer::SetBatch(const TrainingBatch& batch, std::span<const int32_t> given_experts) {
  all_rows_.resize(batch.ids.size());
  std::iota(all_rows_.begin(), all_rows_.end(), 0);
  batch_ = {.ids = batch.ids,
            .positions = batch.positions,
            .sequence_of_row = batch.sequence_of_row,
            .sequences = {},  // TrainingDevice keeps no cache
            .kv_type = KvType::kF32,
            .wanted_rows = all_rows_,
            .router_limits = {},
            .given_experts = given_experts};
}

Mat<float> Trainer::RunForward(const Model& model, const TrainingBatch& batch,
                               Activations& activations, const ForwardOptions& options,
                               std::span<const int32_t> given_experts) {
  SetBatch(batch, given_experts);
  const auto num_tokens = static_cast<int64_t>(batch.ids.size());
  logits_.Reserve(num_tokens * config_.vocab_size);
  const Mat<float> logits = logits_.AsMat(num_tokens, config_.vocab_size);
  Forward(model, experts_, device_, batch_, options, activations, logits);
  return logits;
}

bool Trainer::IsFrozen(const Parameter& parameter) const {
  const auto& frozen = optimiser_.frozen;
  return std::find(frozen.begin(), frozen.end(), PartOf(parameter)) != frozen.end();
}

// `index`: which of the step's batches; `share`: of the step's rows.
void Trainer::AddGradients(const TrainingBatch& batch, size_t index, double share,
                           Objective& objective, StepResult& result) {
  ForwardOptions options;
  options.activation = optimiser_.precision;
  options.dropout = optimiser_.dropout;
  // Draws are numbered within a batch: each has a seed of its own. Experts take the next ones.
  options.dropout.seed += static_cast<uint64_t>(index) << 32;
  options.dropout.step = static_cast<uint64_t>(step_) + 1;
  const Mat<float> logits = RunForward(model_, batch, activations_, options, batch.routing.experts);
  result.objective += objective.Apply(batch, logits, device_.threads(), ops_);
  RouterLossConfig losses = optimiser_;
  for (double* coefficient :
       {&losses.balance_coefficient, &losses.importance_coefficient, &losses.load_coefficient,
        &losses.z_coefficient, &losses.anchor_coefficient})
    *coefficient *= share;
  const RouterLosses router =
      ComputeRouterLosses(activations_, config_, losses, batch.mask, batch.routing.probs);
  result.loss += router.total;
  result.balance += share * router.balance;
  result.importance += share * router.importance;
  result.load += share * router.load;
  result.z += share * router.z;
  result.anchor += share * router.anchor;
  AddTimes(share, router.layer_load, result.layer_load);
  AddTimes(share, router.drop_rate, result.drop_rate);
  Backward({model_, batch_, options, activations_, logits, router}, device_, ops_, scratch_,
           GradientArena(weights_.span(), gradients_.span()));
}

StepResult Trainer::ComputeGradients(std::span<const TrainingBatch> batches, Objective& objective) {
  StepResult result;
  for (const auto& batch : batches) {
    result.targets += batch.CountTargets();
    result.rows += static_cast<int64_t>(batch.ids.size());
  }
  objective.BeginStep(batches);
  gradients_.Zero();
  for (size_t i = 0; i < batches.size(); ++i) {
    const auto rows = static_cast<double>(batches[i].ids.size());
    AddGradients(batches[i], i, rows / static_cast<double>(result.rows), objective, result);
  }
  result.loss += result.objective;
  double squares = 0;
  for (const auto& p : layout_.parameters()) {
    if (!IsFrozen(p))
      squares += ops_.SumOfSquares({gradients_.data() + p.offset, static_cast<size_t>(p.size())});
  }
  result.grad_norm = std::sqrt(squares);
  return result;
}

StepResult Trainer::ComputeGradients(const TrainingBatch& batch) {
  return ComputeGradients({&batch, 1}, cross_entropy_);
}

StepResult Trainer::Step(std::span<const TrainingBatch> batches, double learning_rate,
                         Objective& objective) {
  const StepResult result = ComputeGradients(batches, objective);
  ++step_;
  const bool clip = optimiser_.clip_norm > 0 && result.grad_norm > optimiser_.clip_norm;
  ApplyAdamW(learning_rate, clip ? optimiser_.clip_norm / result.grad_norm : 1.0);
  return result;
}

StepResult Trainer::Step(const TrainingBatch& batch, double learning_rate) {
  return Step({&batch, 1}, learning_rate, cross_entropy_);
}

void Trainer::ApplyAdamW(double learning_rate, double gradient_scale) {
  AdamWSettings settings;
  settings.learning_rate = static_cast<float>(learning_rate);
  settings.beta1 = optimiser_.beta1;
  settings.beta2 = optimiser_.beta2;
  settings.epsilon = optimiser_.epsilon;
  settings.gradient_scale = static_cast<float>(gradient_scale);
  settings.step = step_;
  for (const auto& p : layout_.parameters()) {
    if (IsFrozen(p)) continue;
    settings.weight_decay = p.is_norm ? 0 : optimiser_.weight_decay;
    const auto size = static_cast<size_t>(p.size());
    ops_.AdamW({weights_.data() + p.offset, size}, {gradients_.data() + p.offset, size},
               {moment1_.data() + p.offset, size}, {moment2_.data() + p.offset, size}, settings);
  }
}

std::span<const float> Trainer::TokenLosses(const TrainingBatch& batch) {
  const Mat<float> logits = RunForward(evaluation_model_, batch, evaluation_activations_, {}, {});
  losses_.resize(batch.ids.size());
  ops_.CrossEntropy(logits, batch.targets, 0, losses_);
  return losses_;
}

double Trainer::Evaluate(const TrainingBatch& batch) {
  const auto losses = TokenLosses(batch);
  return std::accumulate(losses.begin(), losses.end(), 0.0);
}

void Trainer::ObserveRouting(const TrainingBatch& batch, const RoutingObserver& observer) {
  ForwardOptions options;
  options.activation = ActivationType::kRounded;
  options.observer = &observer;
  SetBatch(batch, {});
  batch_.wanted_rows = {};
  Forward(evaluation_model_, experts_, device_, batch_, options, evaluation_activations_,
          Mat<float>(nullptr, 0, config_.vocab_size));
}

}  // namespace cadre
