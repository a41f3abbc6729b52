#include "align/sft_task.h"

#include <algorithm>

#include "base/json.h"
#include "train/batch_packer.h"

namespace cadre {
namespace {

std::vector<Mixture::Source> MixtureSources(const std::vector<InstructionSource>& sources) {
  std::vector<Mixture::Source> mixed;
  for (const auto& source : sources) {
    const int64_t samples = source.train.size();
    mixed.push_back({samples, source.weight > 0 ? source.weight : static_cast<double>(samples)});
  }
  return mixed;
}

}  // namespace

SftTask::SftTask(const SftConfig& config, const std::vector<InstructionSource>& train,
                 const std::vector<InstructionSource>& valid)
    : config_(config), train_(train), mixture_(MixtureSources(train), config.seed) {
  for (const auto& source : train)
    if (source.held_back.size() > 0) groups_.push_back({source.name, &source.held_back});
  for (const auto& source : valid) groups_.push_back({source.name, &source.train});
}

void SftTask::RememberRouting(Trainer& trainer) {
  std::vector<TrainingBatch> batches;
  BatchPacker packer(batches, config_.rows_at_once());
  const int64_t most = DriftRows(trainer.model().config);
  int64_t rows = 0;
  const auto add = [&](const SampleSet& samples, int64_t room) {
    for (int64_t i = 0, own = 0; i < samples.size() && own + samples.rows(i) <= room; ++i) {
      packer.WithRoom(samples.rows(i)).AddSequence(samples.tokens(i), samples.trained(i));
      own += samples.rows(i);
      rows += samples.rows(i);
    }
  };
  for (const auto& group : groups_) add(*group.samples, most / std::ssize(groups_));
  if (rows == 0) add(train_.front().train, most);
  packer.Finish();
  drift_ = std::make_unique<RouterDrift>(trainer, std::move(batches));
}

int64_t SftTask::RowsOf(const Mixture::Draw& draw) const {
  return train_[draw.source].train.rows(static_cast<int64_t>(draw.sample));
}

// Samples in the order of the mixture until the next has no room.
std::vector<Mixture::Draw> SftTask::DrawStep() {
  std::vector<Mixture::Draw> draws;
  int64_t rows = 0;
  while (true) {
    const Mixture::Draw draw = pending_ ? *pending_ : mixture_.Next();
    pending_.reset();
    if (!draws.empty() && rows + RowsOf(draw) > config_.batch_tokens) {
      pending_ = draw;
      break;
    }
    rows += RowsOf(draw);
    draws.push_back(draw);
  }
  rows_ += rows;
  samples_ += std::ssize(draws);
  ++next_step_;
  return draws;
}

void SftTask::FillBatches(int64_t step, std::vector<TrainingBatch>& batches) {
  if (step < next_step_) {
    mixture_.Restart();
    pending_.reset();
    next_step_ = rows_ = samples_ = 0;
  }
  while (next_step_ < step) DrawStep();
  BatchPacker packer(batches, config_.micro_tokens);
  for (const auto& draw : DrawStep()) {
    const SampleSet& samples = train_[draw.source].train;
    const auto i = static_cast<int64_t>(draw.sample);
    packer.WithRoom(samples.rows(i)).AddSequence(samples.tokens(i), samples.trained(i));
  }
  packer.Finish();
}

void SftTask::AddMetrics(const StepResult& result, OrderedJson& line) {
  line["tokens"] = rows_;
  line["samples"] = samples_;
  line["epoch"] = mixture_.Epochs();
  line["trained_tokens"] = result.targets;
  line["cross_entropy"] = result.objective;
}

OrderedJson SftTask::ValidateGroup(Trainer& trainer, const Group& group, double& loss) const {
  const SampleSet& samples = *group.samples;
  const int64_t most = config_.validate_samples > 0
                           ? std::min(config_.validate_samples, samples.size())
                           : samples.size();
  double nats = 0;
  int64_t targets = 0;
  TrainingBatch batch;
  const auto flush = [&] {
    if (batch.ids.empty()) return;
    nats += trainer.Evaluate(batch);
    targets += batch.CountTargets();
    batch.Clear();
  };
  for (int64_t i = 0; i < most; ++i) {
    if (std::ssize(batch.ids) + samples.rows(i) > config_.rows_at_once()) flush();
    batch.AddSequence(samples.tokens(i), samples.trained(i));
  }
  flush();
  loss = nats / static_cast<double>(targets);
  return {{"loss", loss}, {"samples", most}, {"trained_tokens", targets}};
}

std::optional<Validation> SftTask::Validate(Trainer& trainer, bool /*is_last*/) {
  if (groups_.empty()) return std::nullopt;
  Validation validation;
  double sum = 0;
  for (const auto& group : groups_) {
    double loss = 0;
    validation.figures[group.name] = ValidateGroup(trainer, group, loss);
    sum += loss;
  }
  validation.score = sum / static_cast<double>(groups_.size());
  validation.figures["mean_loss"] = validation.score;
  if (drift_ != nullptr) {
    OrderedJson figures = drift_->Figures(trainer);
    if (!figures.is_null()) validation.figures["router_drift"] = std::move(figures);
  }
  return validation;
}

}  // namespace cadre
