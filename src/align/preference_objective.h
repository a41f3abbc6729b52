// A step's pairs towards one of the preference losses, and what there is to know about them.
#pragma once

#include <vector>

#include "align/preference_loss.h"
#include "train/objective.h"

namespace cadre {

// Means over pairs, but where said otherwise. Names and meaning as in TRL's DPO trainer.
struct PreferenceMetrics {
  int64_t pairs = 0;
  double loss = 0;
  double reward_chosen = 0, reward_rejected = 0;
  int64_t correct = 0;  // pairs whose chosen reward is strictly above the rejected one
  double logp_chosen = 0, logp_rejected = 0;  // sums over an answer's tokens
  double reference_logp_chosen = 0, reference_logp_rejected = 0;
  // Over tokens of answers (none in validations): mean logit, entropy in nats of all, share of the
  // chosen answers' tokens that are the likeliest, and their cross-entropy.
  double logit_chosen = 0, logit_rejected = 0;
  double entropy = 0, token_accuracy = 0;
  double nll_chosen = 0;
  int64_t chosen_tokens = 0, rejected_tokens = 0;

  double margin() const { return reward_chosen - reward_rejected; }
  double accuracy() const;
};

// Sums, to become means.
class PreferenceTally {
 public:
  void Add(const PairLogProbs& pair, const PreferenceConfig& config);
  PreferenceMetrics& sums() { return sums_; }
  PreferenceMetrics Means() const;

 private:
  PreferenceMetrics sums_;
};

// Batches hold pairs: sequence 2 i is a chosen answer with its prompt, 2 i + 1 the rejected one,
// and each has its reference log-probability. The loss is the mean over the step's pairs, plus
// sft_coefficient times the mean over their chosen answers' tokens of -log p.
class PreferenceObjective : public Objective {
 public:
  explicit PreferenceObjective(const PreferenceConfig& config) : config_(config) {}

  void BeginStep(std::span<const TrainingBatch> batches) override;
  double Apply(const TrainingBatch& batch, Mat<float> logits, ThreadPool& threads,
               BackwardOps& ops) override;

  // Of the step so far.
  PreferenceMetrics metrics() const { return tally_.Means(); }

 private:
  struct RowFigures {
    double logit = 0;    // mean over the vocabulary
    double entropy = 0;  // nats
    bool likeliest = false;
  };
  void LookAtRows(const TrainingBatch& batch, Mat<const float> logits, ThreadPool& threads);

  PreferenceConfig config_;
  int64_t step_pairs_ = 0;
  int64_t step_chosen_tokens_ = 0;
  PreferenceTally tally_;
  std::vector<float> losses_;
  std::vector<RowFigures> rows_;
};

// The pairs' log-probabilities from -log p of each row's target.
std::vector<PairLogProbs> CollectPairs(const TrainingBatch& batch, std::span<const float> losses);

}  // namespace cadre
