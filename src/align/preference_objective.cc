#include "align/preference_objective.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace cadre {
namespace {

int64_t CountChosenTokens(const TrainingBatch& batch) {
  int64_t tokens = 0;
  for (size_t t = 0; t < batch.targets.size(); ++t)
    tokens += batch.targets[t] >= 0 && batch.sequence_of_row[t] % 2 == 0;
  return tokens;
}

}  // namespace

double PreferenceMetrics::accuracy() const {
  return pairs == 0 ? 0 : static_cast<double>(correct) / static_cast<double>(pairs);
}

void PreferenceTally::Add(const PairLogProbs& pair, const PreferenceConfig& config) {
  const ImplicitRewards rewards = ComputeRewards(pair, config);
  ++sums_.pairs;
  sums_.loss += ComputePairLoss(pair, config).value;
  sums_.reward_chosen += rewards.chosen;
  sums_.reward_rejected += rewards.rejected;
  sums_.correct += rewards.chosen > rewards.rejected;
  sums_.logp_chosen += pair.chosen;
  sums_.logp_rejected += pair.rejected;
  sums_.reference_logp_chosen += pair.reference_chosen;
  sums_.reference_logp_rejected += pair.reference_rejected;
  sums_.nll_chosen -= pair.chosen;
  sums_.chosen_tokens += pair.chosen_tokens;
  sums_.rejected_tokens += pair.rejected_tokens;
}

PreferenceMetrics PreferenceTally::Means() const {
  PreferenceMetrics m = sums_;
  const auto n = static_cast<double>(std::max<int64_t>(1, m.pairs));
  for (double* value : {&m.loss, &m.reward_chosen, &m.reward_rejected, &m.logp_chosen,
                        &m.logp_rejected, &m.reference_logp_chosen, &m.reference_logp_rejected})
    *value /= n;
  const auto chosen = static_cast<double>(std::max<int64_t>(1, m.chosen_tokens));
  const auto rejected = static_cast<double>(std::max<int64_t>(1, m.rejected_tokens));
  m.logit_chosen /= chosen;
  m.logit_rejected /= rejected;
  m.token_accuracy /= chosen;
  m.nll_chosen /= chosen;
  m.entropy /= chosen + rejected;
  return m;
}

std::vector<PairLogProbs> CollectPairs(const TrainingBatch& batch, std::span<const float> losses) {
  CADRE_CHECK(batch.num_sequences % 2 == 0 && std::ssize(losses) == std::ssize(batch.ids));
  CADRE_CHECK(std::ssize(batch.reference_log_probs) == batch.num_sequences);
  std::vector<PairLogProbs> pairs(static_cast<size_t>(batch.num_sequences / 2),
                                  PairLogProbs{.chosen_tokens = 0, .rejected_tokens = 0});
  for (size_t t = 0; t < losses.size(); ++t) {
    if (batch.targets[t] < 0) continue;
    const auto sequence = static_cast<size_t>(batch.sequence_of_row[t]);
    PairLogProbs& pair = pairs[sequence / 2];
    const bool is_chosen = sequence % 2 == 0;
    (is_chosen ? pair.chosen : pair.rejected) -= static_cast<double>(losses[t]);
    ++(is_chosen ? pair.chosen_tokens : pair.rejected_tokens);
  }
  for (size_t i = 0; i < pairs.size(); ++i) {
    pairs[i].reference_chosen = batch.reference_log_probs[2 * i];
    pairs[i].reference_rejected = batch.reference_log_probs[2 * i + 1];
    CADRE_CHECK(pairs[i].chosen_tokens > 0 && pairs[i].rejected_tokens > 0);
  }
  return pairs;
}

void PreferenceObjective::BeginStep(std::span<const TrainingBatch> batches) {
  tally_ = {};
  step_pairs_ = step_chosen_tokens_ = 0;
  for (const auto& batch : batches) {
    step_pairs_ += batch.num_sequences / 2;
    step_chosen_tokens_ += CountChosenTokens(batch);
  }
}

// Rows without a target are left at zero.
void PreferenceObjective::LookAtRows(const TrainingBatch& batch, Mat<const float> logits,
                                     ThreadPool& threads) {
  rows_.assign(batch.ids.size(), {});
  threads.ParallelFor(logits.rows, [&](int64_t t, int) {
    const int32_t target = batch.targets[static_cast<size_t>(t)];
    if (target < 0) return;
    const auto row = logits.row_span(t);
    const float max = *std::max_element(row.begin(), row.end());
    double sum = 0, exps = 0, weighted = 0;
    for (const float logit : row) {
      const double e = std::exp(static_cast<double>(logit - max));
      sum += static_cast<double>(logit);
      exps += e;
      weighted += e * static_cast<double>(logit - max);
    }
    rows_[static_cast<size_t>(t)] = {sum / static_cast<double>(row.size()),
                                     std::log(exps) - weighted / exps,
                                     row[static_cast<size_t>(target)] == max};
  });
  PreferenceMetrics& sums = tally_.sums();
  for (size_t t = 0; t < rows_.size(); ++t) {
    const bool is_chosen = batch.sequence_of_row[t] % 2 == 0;
    (is_chosen ? sums.logit_chosen : sums.logit_rejected) += rows_[t].logit;
    sums.entropy += rows_[t].entropy;
    if (is_chosen) sums.token_accuracy += rows_[t].likeliest ? 1 : 0;
  }
}

double PreferenceObjective::Apply(const TrainingBatch& batch, Mat<float> logits,
                                  ThreadPool& threads, BackwardOps& ops) {
  LookAtRows(batch, logits, threads);
  losses_.resize(batch.ids.size());
  ops.CrossEntropy(logits, batch.targets, 1, losses_);
  const auto pairs = CollectPairs(batch, losses_);
  const double pair_share = 1 / static_cast<double>(step_pairs_);
  const double sft_share =
      config_.sft_coefficient / static_cast<double>(std::max<int64_t>(1, step_chosen_tokens_));
  double loss = 0;
  std::vector<float> scale;  // [sequences] of the gradient of -log p
  for (const auto& pair : pairs) {
    tally_.Add(pair, config_);
    const PairLoss of_pair = ComputePairLoss(pair, config_);
    loss += pair_share * of_pair.value - sft_share * pair.chosen;
    scale.push_back(static_cast<float>(sft_share - pair_share * of_pair.d_chosen));
    scale.push_back(static_cast<float>(-pair_share * of_pair.d_rejected));
  }
  threads.ParallelFor(logits.rows, [&](int64_t t, int) {
    const float s = scale[static_cast<size_t>(batch.sequence_of_row[static_cast<size_t>(t)])];
    for (float& value : logits.row_span(t)) value *= s;
  });
  return loss;
}

}  // namespace cadre
