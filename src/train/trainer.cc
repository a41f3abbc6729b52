#include "train/trainer.h"

#include <cmath>
#include <numeric>

#include "base/random.h"

namespace cadre {
namespace {

ModelConfig ForInference(ModelConfig config) {
  config.router = config.router.ForInference();
  return config;
}

}  // namespace

void TrainingBatch::AddSequence(std::span<const int32_t> tokens) {
  CADRE_CHECK(tokens.size() >= 2);
  for (size_t i = 0; i + 1 < tokens.size(); ++i) {
    ids.push_back(tokens[i]);
    targets.push_back(tokens[i + 1]);
    positions.push_back(static_cast<int64_t>(i));
    sequence_of_row.push_back(static_cast<int32_t>(num_sequences));
  }
  ++num_sequences;
}

void TrainingBatch::Clear() {
  ids.clear();
  targets.clear();
  positions.clear();
  sequence_of_row.clear();
  num_sequences = 0;
  mask.clear();
}

Trainer::Trainer(const ModelConfig& config, const OptimiserConfig& optimiser, Device& device,
                 BackwardOps& ops)
    : config_(config),
      optimiser_(optimiser),
      device_(device),
      ops_(ops),
      layout_(config),
      weights_(layout_.size()),
      gradients_(layout_.size()),
      moment1_(layout_.size()),
      moment2_(layout_.size()),
      model_(layout_.Bind(weights_.data())),
      evaluation_model_(model_),
      experts_(model_.weights),
      activations_(config, Activations::Keep::kEveryLayer),
      evaluation_activations_(ForInference(config), Activations::Keep::kOneLayer),
      scratch_(config),
      pages_(config.kv_shape(KvType::kF32)) {
  evaluation_model_.config = ForInference(evaluation_model_.config);
}

void Trainer::Initialise(uint64_t seed, double sigma) {
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

Mat<float> Trainer::RunForward(const Model& model, const TrainingBatch& batch,
                               Activations& activations, const ForwardOptions& options) {
  const auto num_sequences = static_cast<size_t>(batch.num_sequences);
  std::vector<int64_t> lengths(num_sequences, 0);
  for (size_t t = 0; t < batch.ids.size(); ++t) {
    lengths[static_cast<size_t>(batch.sequence_of_row[t])] = batch.positions[t] + 1;
  }
  sequences_.clear();
  caches_.clear();
  caches_.reserve(num_sequences);
  for (const int64_t length : lengths) {
    caches_.emplace_back(pages_);
    caches_.back().Reserve(length);
    sequences_.push_back(caches_.back().view());
  }
  all_rows_.resize(batch.ids.size());
  std::iota(all_rows_.begin(), all_rows_.end(), 0);
  batch_ = {.ids = batch.ids,
            .positions = batch.positions,
            .sequence_of_row = batch.sequence_of_row,
            .sequences = sequences_,
            .kv_type = KvType::kF32,
            .wanted_rows = all_rows_,
            .router_limits = {}};
  const auto num_tokens = static_cast<int64_t>(batch.ids.size());
  logits_.Reserve(num_tokens * config_.vocab_size);
  const Mat<float> logits = logits_.AsMat(num_tokens, config_.vocab_size);
  Forward(model, experts_, device_, batch_, options, activations, logits);
  return logits;
}

StepResult Trainer::ComputeGradients(const TrainingBatch& batch) {
  ForwardOptions options;
  options.dropout = optimiser_.dropout;
  options.dropout.step = static_cast<uint64_t>(step_) + 1;
  const Mat<float> logits = RunForward(model_, batch, activations_, options);
  StepResult result;
  for (const int32_t target : batch.targets) result.targets += target >= 0;
  const double scale = 1.0 / static_cast<double>(std::max<int64_t>(1, result.targets));
  losses_.resize(batch.ids.size());
  ops_.CrossEntropy(logits, batch.targets, static_cast<float>(scale), losses_);
  result.cross_entropy = std::accumulate(losses_.begin(), losses_.end(), 0.0) * scale;
  const RouterLosses router = ComputeRouterLosses(activations_, config_, optimiser_, batch.mask);
  result.balance = router.balance;
  result.importance = router.importance;
  result.load = router.load;
  result.z = router.z;
  result.layer_load = router.layer_load;
  result.drop_rate = router.drop_rate;
  result.loss = result.cross_entropy + router.total;
  gradients_.Zero();
  Backward({model_, batch_, options, activations_, logits, router}, device_, ops_, scratch_,
           GradientArena(weights_.data(), gradients_.data()));
  double squares = 0;
  for (const auto& p : layout_.parameters()) {
    squares += ops_.SumOfSquares({gradients_.data() + p.offset, static_cast<size_t>(p.size())});
  }
  result.grad_norm = std::sqrt(squares);
  return result;
}

StepResult Trainer::Step(const TrainingBatch& batch, double learning_rate) {
  const StepResult result = ComputeGradients(batch);
  ++step_;
  const bool clip = optimiser_.clip_norm > 0 && result.grad_norm > optimiser_.clip_norm;
  ApplyAdamW(learning_rate, clip ? optimiser_.clip_norm / result.grad_norm : 1.0);
  return result;
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
    settings.weight_decay = p.is_norm ? 0 : optimiser_.weight_decay;
    const auto size = static_cast<size_t>(p.size());
    ops_.AdamW({weights_.data() + p.offset, size}, {gradients_.data() + p.offset, size},
               {moment1_.data() + p.offset, size}, {moment2_.data() + p.offset, size}, settings);
  }
}

double Trainer::Evaluate(const TrainingBatch& batch) {
  const Mat<float> logits = RunForward(evaluation_model_, batch, evaluation_activations_, {});
  losses_.resize(batch.ids.size());
  ops_.CrossEntropy(logits, batch.targets, 0, losses_);
  return std::accumulate(losses_.begin(), losses_.end(), 0.0);
}

}  // namespace cadre
