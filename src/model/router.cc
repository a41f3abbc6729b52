#include "model/router.h"

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

}  // namespace

void Routing::Reserve(int64_t max_tokens, const RouterConfig& config) {
  expert_buffer_.Reserve(max_tokens * config.top_k);
  gate_buffer_.Reserve(max_tokens * config.top_k);
  prob_buffer_.Reserve(max_tokens * config.num_experts);
}

void Routing::SetTokens(int64_t tokens, const RouterConfig& config) {
  experts = expert_buffer_.AsMat(tokens, config.top_k);
  gates = gate_buffer_.AsMat(tokens, config.top_k);
  probs = prob_buffer_.AsMat(tokens, config.num_experts);
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
    const auto k = static_cast<size_t>(std::clamp<int64_t>(wish, 1, config.top_k));
    SoftmaxAll(row, routing.probs.row_span(t));
    for (size_t c = 0; c < picks.size(); ++c) {
      picks[c] = c < k ? BestUnchosen(row, picks.first(c)) : -1;
      gates[c] = 0;
    }
    SetGates(routing.probs.row_span(t), config.softmax, picks.first(k), gates);
  }
}

}  // namespace cadre
