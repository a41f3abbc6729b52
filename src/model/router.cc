#include "model/router.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace cadre {
namespace {

float AsRank(float logit) {
  return std::isnan(logit) ? -std::numeric_limits<float>::infinity() : logit;
}

// Softmax over all experts, in double, rounded once.
void SoftmaxAll(std::span<const float> logits, std::span<float> probs) {
  float max = -std::numeric_limits<float>::infinity();
  for (const float logit : logits) max = std::max(max, AsRank(logit));
  if (std::isinf(max)) {  // nothing but -inf or NaN, or an infinity: no softmax exists
    std::fill(probs.begin(), probs.end(), 1.0f / static_cast<float>(probs.size()));
    return;
  }
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(AsRank(logit)) - max);
  for (size_t e = 0; e < probs.size(); ++e) {
    probs[e] = static_cast<float>(std::exp(static_cast<double>(AsRank(logits[e])) - max) / sum);
  }
}

// The best expert not among the first `chosen` picks.
int32_t BestUnchosen(std::span<const float> logits, std::span<const int32_t> chosen) {
  int32_t best = -1;
  for (int32_t e = 0; e < static_cast<int32_t>(logits.size()); ++e) {
    bool taken = false;
    for (const int32_t pick : chosen) taken |= pick == e;
    if (taken) continue;
    if (best < 0 ||
        AsRank(logits[static_cast<size_t>(e)]) > AsRank(logits[static_cast<size_t>(best)]))
      best = e;
  }
  return best;
}

std::span<const int32_t> GivenFor(const RouterLimits& limits, int64_t step_row,
                                  const RouterConfig& config) {
  return limits.experts.subspan(static_cast<size_t>(step_row * config.top_k),
                                static_cast<size_t>(config.top_k));
}

// Returns how many there are.
size_t UseGiven(std::span<const int32_t> given, std::span<int32_t> picks) {
  size_t k = 0;
  for (; k < given.size() && given[k] >= 0; ++k) picks[k] = given[k];
  return k;
}

}  // namespace

void SetGates(std::span<const float> probs, RouterSoftmax softmax, std::span<const int32_t> picks,
              std::span<float> gates) {
  double sum = 0;
  for (const int32_t pick : picks) sum += probs[static_cast<size_t>(pick)];
  for (size_t c = 0; c < picks.size(); ++c) {
    const double p = probs[static_cast<size_t>(picks[c])];
    gates[c] = static_cast<float>(softmax == RouterSoftmax::kAll ? p
                                  : sum > 0                      ? p / sum
                                            : 1.0 / static_cast<double>(picks.size()));
  }
}

void Routing::Reserve(int64_t max_tokens, const RouterConfig& config, int64_t max_choices) {
  const int64_t choices = max_choices > 0 ? max_choices : config.top_k;
  expert_buffer_.Reserve(max_tokens * choices);
  gate_buffer_.Reserve(max_tokens * choices);
  prob_buffer_.Reserve(max_tokens * config.num_experts);
}

void Routing::SetTokens(int64_t tokens, const RouterConfig& config, int64_t choices) {
  if (choices == 0) choices = config.top_k;
  experts = expert_buffer_.AsMat(tokens, choices);
  gates = gate_buffer_.AsMat(tokens, choices);
  probs = prob_buffer_.AsMat(tokens, config.num_experts);
}

int64_t RouterLimits::MaxChoices(const RouterConfig& config) const {
  int64_t most = config.top_k;
  for (const int32_t k : top_k) most = std::max<int64_t>(most, k);
  return std::min(most, config.num_experts);
}

void ChooseExperts(Mat<const float> logits, const RouterConfig& config, const RouterLimits& limits,
                   Routing& routing) {
  CADRE_CHECK(logits.rows == routing.experts.rows && logits.cols == config.num_experts);
  for (int64_t t = 0; t < logits.rows; ++t) {
    const auto row = logits.row_span(t);
    const auto picks = routing.experts.row_span(t);
    const auto gates = routing.gates.row_span(t);
    const int64_t step_row = limits.rows.empty() ? t : limits.rows[static_cast<size_t>(t)];
    const int64_t wish =
        limits.top_k.empty() ? config.top_k : limits.top_k[static_cast<size_t>(step_row)];
    const auto most = static_cast<size_t>(std::clamp<int64_t>(wish, 1, std::ssize(picks)));
    const float least =
        limits.min_prob.empty() ? 0 : limits.min_prob[static_cast<size_t>(step_row)];
    const auto probs = routing.probs.row_span(t);
    SoftmaxAll(row, probs);
    std::fill(picks.begin(), picks.end(), -1);
    std::fill(gates.begin(), gates.end(), 0.0f);
    size_t k = 0;
    if (!limits.experts.empty()) {
      k = UseGiven(GivenFor(limits, step_row, config), picks);
    } else {
      for (; k < most; ++k) {
        const int32_t next = BestUnchosen(row, picks.first(k));
        if (k > 0 && probs[static_cast<size_t>(next)] < least) break;
        picks[k] = next;
      }
    }
    SetGates(probs, config.softmax, picks.first(k), gates);
  }
}

}  // namespace cadre
