#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"

namespace cadre {
namespace {

void Require(bool holds, const char* name, double value, const char* expected) {
  if (!holds) throw Error("{} is {} but must be {}", name, value, expected);
}

}  // namespace

void SamplerConfig::Validate() const {
  Require(std::isfinite(temperature) && temperature >= 0, "temperature", temperature, "0 or more");
  Require(top_k >= 0, "top-k", static_cast<double>(top_k), "0 (all) or more");
  Require(top_p >= 0 && top_p <= 1, "top-p", top_p, "from 0 to 1");
  Require(min_p >= 0 && min_p <= 1, "min-p", min_p, "from 0 to 1");
  Require(std::isfinite(repeat_penalty) && repeat_penalty > 0, "repeat-penalty", repeat_penalty,
          "more than 0");
  Require(std::isfinite(presence_penalty), "presence-penalty", presence_penalty, "a number");
  Require(std::isfinite(frequency_penalty), "frequency-penalty", frequency_penalty, "a number");
  for (const auto& [id, bias] : logit_bias) {
    Require(id >= 0, "logit-bias token", id, "an id of the vocabulary");
    Require(std::isfinite(bias), "logit-bias", static_cast<double>(bias), "a number");
  }
}

Sampler::Sampler(const SamplerConfig& config) : config_(config) { config_.Validate(); }

int32_t Sampler::Sample(std::span<const float> logits, const TokenHistory& history,
                        Random& random) {
  logits_.assign(logits.begin(), logits.end());
  for (size_t i = 0; i < logits_.size(); ++i) {
    if (std::isnan(logits_[i]) || logits_[i] == std::numeric_limits<double>::infinity()) {
      throw Error(
          "the model's logit of token {} is {} but must be a number: its weights may be damaged", i,
          logits_[i]);
    }
  }
  ApplyBias();
  ApplyPenalties(history);
  const auto best = std::max_element(logits_.begin(), logits_.end());  // the first of equals
  if (best == logits_.end() || std::isinf(*best))
    throw Error("no token is possible: every logit is minus infinity");
  if (config_.temperature == 0) return static_cast<int32_t>(best - logits_.begin());

  candidates_.clear();
  for (size_t i = 0; i < logits_.size(); ++i) {
    const double weight = std::exp((logits_[i] - *best) / config_.temperature);
    if (weight > 0) candidates_.push_back({static_cast<int32_t>(i), weight});
  }
  KeepLikeliest();
  return Draw(random.NextDouble());
}

void Sampler::ApplyBias() {
  for (const auto& [id, bias] : config_.logit_bias) {
    if (static_cast<size_t>(id) < logits_.size()) logits_[static_cast<size_t>(id)] += bias;
  }
}

void Sampler::ApplyPenalties(const TokenHistory& history) {
  const auto known = [&](int32_t id) {
    return id >= 0 && static_cast<size_t>(id) < logits_.size();
  };
  times_generated_.resize(logits_.size());
  if (config_.repeat_penalty != 1) {
    const auto recent =
        history.ids.last(std::min(history.ids.size(), SamplerConfig::kRepeatWindow));
    for (const int32_t id : recent) {
      if (!known(id) || times_generated_[static_cast<size_t>(id)]++ > 0) continue;
      double& logit = logits_[static_cast<size_t>(id)];
      logit = logit > 0 ? logit / config_.repeat_penalty : logit * config_.repeat_penalty;
    }
    for (const int32_t id : recent) {
      if (known(id)) times_generated_[static_cast<size_t>(id)] = 0;
    }
  }
  if (config_.presence_penalty == 0 && config_.frequency_penalty == 0) return;
  const auto generated = history.ids.last(std::min(history.ids.size(), history.num_generated));
  for (const int32_t id : generated) {
    if (known(id)) ++times_generated_[static_cast<size_t>(id)];
  }
  for (const int32_t id : generated) {
    if (!known(id)) continue;
    int32_t& times = times_generated_[static_cast<size_t>(id)];
    if (times > 0)
      logits_[static_cast<size_t>(id)] -=
          config_.presence_penalty + times * config_.frequency_penalty;
    times = 0;
  }
}

// top-k, top-p over what top-k left, min-p. Pops a heap instead of sorting: few tokens usually hold
// the mass.
void Sampler::KeepLikeliest() {
  const auto less_likely = [](const Candidate& a, const Candidate& b) {
    return a.weight != b.weight ? a.weight < b.weight : a.id > b.id;
  };
  const bool cuts_k = config_.top_k > 0 && static_cast<size_t>(config_.top_k) < candidates_.size();
  const auto count = cuts_k ? static_cast<size_t>(config_.top_k) : candidates_.size();
  if (cuts_k || config_.top_p < 1) {
    auto heap_end = candidates_.end();
    std::make_heap(candidates_.begin(), heap_end, less_likely);
    double mass = 0;
    if (!cuts_k) {
      for (const auto& candidate : candidates_) mass += candidate.weight;
    } else {
      for (size_t i = 0; i < count; ++i) {
        std::pop_heap(candidates_.begin(), heap_end, less_likely);
        mass += (--heap_end)->weight;
      }
      std::reverse(heap_end, candidates_.end());  // likeliest first
      candidates_.erase(candidates_.begin(), heap_end);
      heap_end = candidates_.end();
      std::make_heap(candidates_.begin(), heap_end, less_likely);
    }
    double kept = 0;
    do {
      std::pop_heap(candidates_.begin(), heap_end, less_likely);
      kept += (--heap_end)->weight;
    } while (heap_end != candidates_.begin() && kept < config_.top_p * mass);
    std::reverse(heap_end, candidates_.end());
    candidates_.erase(candidates_.begin(), heap_end);
  }
  if (config_.min_p > 0) {
    std::erase_if(candidates_,
                  [&](const Candidate& candidate) { return candidate.weight < config_.min_p; });
  }
}

int32_t Sampler::Draw(double uniform) const {
  double mass = 0;
  for (const auto& candidate : candidates_) mass += candidate.weight;
  double rest = uniform * mass;
  for (const auto& candidate : candidates_) {
    rest -= candidate.weight;
    if (rest < 0) return candidate.id;
  }
  return candidates_.back().id;  // rounding
}

}  // namespace cadre
