#include "align/dpo_task.h"

#include <algorithm>
#include <cmath>

#include "base/json.h"
#include "base/log.h"
#include "train/batch_packer.h"

namespace cadre {
namespace {

std::vector<Mixture::Source> MixtureSources(const std::vector<DpoTask::Source>& sources) {
  std::vector<Mixture::Source> mixed;
  for (const auto& source : sources) {
    const auto pairs = std::ssize(source.train);
    if (pairs == 0) continue;
    mixed.push_back({pairs, source.weight > 0 ? source.weight : static_cast<double>(pairs)});
  }
  return mixed;
}

OrderedJson FiguresOf(const PreferenceMetrics& m) {
  return {{"rewards/chosen", m.reward_chosen},
          {"rewards/rejected", m.reward_rejected},
          {"rewards/margins", m.margin()},
          {"rewards/accuracies", m.accuracy()},
          {"logps/chosen", m.logp_chosen},
          {"logps/rejected", m.logp_rejected},
          {"reference_logps/chosen", m.reference_logp_chosen},
          {"reference_logps/rejected", m.reference_logp_rejected}};
}

}  // namespace

void AddPair(const ReferredPair& pair, TrainingBatch& batch) {
  batch.AddSequence(pair.pair->chosen.tokens, pair.pair->chosen.trained);
  batch.AddSequence(pair.pair->rejected.tokens, pair.pair->rejected.trained);
  batch.reference_log_probs.push_back(pair.reference.chosen);
  batch.reference_log_probs.push_back(pair.reference.rejected);
}

std::vector<ReferencePair> ScorePairs(Trainer& trainer, std::span<const Pair* const> pairs,
                                      int64_t micro_tokens) {
  std::vector<ReferencePair> scores;
  TrainingBatch batch;
  const auto flush = [&] {
    if (batch.ids.empty()) return;
    for (const auto& pair : CollectPairs(batch, trainer.TokenLosses(batch)))
      scores.push_back({pair.chosen, pair.rejected});
    batch.Clear();
  };
  for (const Pair* pair : pairs) {
    if (std::ssize(batch.ids) + pair->rows() > micro_tokens) flush();
    AddPair({pair, {}}, batch);
  }
  flush();
  return scores;
}

DpoTask::DpoTask(const DpoConfig& config, std::vector<Source> sources)
    : config_(config),
      sources_(std::move(sources)),
      mixture_(MixtureSources(sources_), config.seed),
      objective_(config.preference) {}

std::span<const ReferredPair> DpoTask::Measured(const Source& source) const {
  const std::span<const ReferredPair> all = source.held_back;
  if (config_.validate_samples == 0) return all;
  return all.first(std::min(all.size(), static_cast<size_t>(config_.validate_samples)));
}

void DpoTask::RememberRouting(Trainer& trainer) {
  std::vector<TrainingBatch> batches;
  BatchPacker packer(batches, config_.rows_at_once());
  const int64_t most = DriftRows(trainer.model().config);
  int64_t rows = 0;
  const auto add = [&](std::span<const ReferredPair> pairs) {
    for (const auto& pair : pairs) {
      rows += pair.pair->rows();
      if (rows > most) return;
      AddPair(pair, packer.WithRoom(pair.pair->rows()));
    }
  };
  for (const auto& source : sources_) add(Measured(source));
  if (rows == 0) add(sources_.front().train);
  packer.Finish();
  drift_ = std::make_unique<RouterDrift>(trainer, std::move(batches));
}

void DpoTask::FillBatches(int64_t step, std::vector<TrainingBatch>& batches) {
  if (step < next_step_) {
    mixture_.Restart();
    next_step_ = 0;
  }
  for (; next_step_ < step; ++next_step_)
    for (int64_t i = 0; i < config_.batch_pairs; ++i) mixture_.Next();
  BatchPacker packer(batches, config_.micro_tokens);
  for (int64_t i = 0; i < config_.batch_pairs; ++i) {
    const Mixture::Draw draw = mixture_.Next();
    const ReferredPair& pair = sources_[draw.source].train[draw.sample];
    AddPair(pair, packer.WithRoom(pair.pair->rows()));
  }
  packer.Finish();
  ++next_step_;
}

// Before the first step policy and reference are one model.
void DpoTask::WarnOfBadBeginning(const PreferenceMetrics& metrics) {
  if (config_.preference.reference_free || config_.optimiser.dropout.rate > 0 ||
      config_.optimiser.dropout.expert_rate > 0)
    return;
  const double apart = std::abs(metrics.logp_chosen - metrics.reference_logp_chosen) +
                       std::abs(metrics.logp_rejected - metrics.reference_logp_rejected);
  if (apart > 1e-3) {
    log::warn(
        "before the first step the policy's log-probabilities are {:.4f} from the reference's, but "
        "must be the same: the reference is not the model that the run starts from",
        apart);
  }
}

void DpoTask::WarnOfDisplacement(const PreferenceMetrics& metrics) {
  constexpr double kNats = 5;  // of a whole answer
  const double fall = metrics.reference_logp_chosen - metrics.logp_chosen;
  if (warned_of_displacement_ || fall < kNats) return;
  warned_of_displacement_ = true;
  log::warn(
      "chosen answers have become less likely, by {:.1f} nats each (likelihood displacement): the "
      "margin grows by the rejected ones' falling more. A higher dpo.beta, dpo.sft above 0, or "
      "fewer steps hold against it",
      fall);
}

void DpoTask::AddMetrics(const StepResult& result, OrderedJson& line) {
  const PreferenceMetrics m = objective_.metrics();
  if (next_step_ == 1) WarnOfBadBeginning(m);
  line["pairs"] = mixture_.draws();
  line["epoch"] = mixture_.Epochs();
  line["trained_tokens"] = result.targets;
  line["dpo_loss"] = m.loss;
  line.update(FiguresOf(m));
  line["logits/chosen"] = m.logit_chosen;
  line["logits/rejected"] = m.logit_rejected;
  line["mean_token_accuracy"] = m.token_accuracy;
  line["entropy"] = m.entropy;
  line["nll_loss"] = m.nll_chosen;
}

std::optional<Validation> DpoTask::Validate(Trainer& trainer, bool /*is_last*/) {
  PreferenceTally tally;
  OrderedJson by_source;
  for (const auto& source : sources_) {
    PreferenceTally own;
    TrainingBatch batch;
    const auto flush = [&] {
      if (batch.ids.empty()) return;
      for (const auto& pair : CollectPairs(batch, trainer.TokenLosses(batch))) {
        own.Add(pair, config_.preference);
        tally.Add(pair, config_.preference);
      }
      batch.Clear();
    };
    for (const auto& pair : Measured(source)) {
      if (std::ssize(batch.ids) + pair.pair->rows() > config_.rows_at_once()) flush();
      AddPair(pair, batch);
    }
    flush();
    if (own.sums().pairs > 0) by_source[source.name] = own.Means().accuracy();
  }
  const PreferenceMetrics m = tally.Means();
  if (m.pairs == 0) return std::nullopt;
  const Interval interval = WilsonInterval(m.correct, m.pairs);
  Validation validation{.figures = {{"pairs", m.pairs}, {"loss", m.loss}}, .score = m.loss};
  validation.figures.update(FiguresOf(m));
  validation.figures["accuracy_95"] = {interval.low, interval.high};
  validation.figures["accuracy_of"] = std::move(by_source);
  validation.figures["nll_loss"] = m.nll_chosen;
  if (drift_ != nullptr) {
    OrderedJson figures = drift_->Figures(trainer);
    if (!figures.is_null()) validation.figures["router_drift"] = std::move(figures);
  }
  WarnOfDisplacement(m);
  return validation;
}

}  // namespace cadre
