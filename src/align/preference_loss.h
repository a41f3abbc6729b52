// The losses of preference optimisation: functions of four log-probabilities. Sources: DPO, arXiv
// 2305.18290; conservative and robust DPO, arXiv 2403.00409; IPO, arXiv 2310.12036; hinge (SLiC),
// arXiv 2305.10425.
#pragma once

#include <cstdint>

namespace cadre {

// With delta = (policy - reference of the chosen answer) - (the same of the rejected one), beta b
// and label smoothing e:
enum class PreferenceLoss {
  kSigmoid,  // -(1 - e) log s(b delta) - e log s(-b delta), s the logistic function
  kIpo,      // (delta - 1 / (2 b))^2
  kHinge,    // max(0, 1 - b delta)
  kRobust,   // (-(1 - e) log s(b delta) + e log s(-b delta)) / (1 - 2 e): has no lower bound
};

struct PreferenceConfig {
  PreferenceLoss loss = PreferenceLoss::kSigmoid;
  double beta = 0.1;
  double label_smoothing = 0;      // of kSigmoid and kRobust, in [0, 0.5)
  bool length_normalised = false;  // each answer's difference is divided by its tokens
  bool reference_free = false;     // the reference's log-probabilities are taken as 0
  double sft_coefficient = 0;      // of the cross-entropy of the chosen answers (not in PairLoss)
};

// Sums over an answer's tokens, in nats.
struct PairLogProbs {
  double chosen = 0, rejected = 0;
  double reference_chosen = 0, reference_rejected = 0;
  int64_t chosen_tokens = 1, rejected_tokens = 1;
};

struct PairLoss {
  double value = 0;
  double d_chosen = 0, d_rejected = 0;  // by the policy's two log-probabilities
};

PairLoss ComputePairLoss(const PairLogProbs& pair, const PreferenceConfig& config);

// beta times (policy - reference), of each answer: what the policy is rewarded for having moved.
struct ImplicitRewards {
  double chosen = 0, rejected = 0;
};
ImplicitRewards ComputeRewards(const PairLogProbs& pair, const PreferenceConfig& config);

// The interval of a share of `successes` in `trials`, at 95 %. Wilson, JASA 22 (1927).
struct Interval {
  double low = 0, high = 1;
};
Interval WilsonInterval(int64_t successes, int64_t trials);

}  // namespace cadre
