// From logits to the next token. A pure function of logits, history and one random draw: threads,
// batches and earlier calls change nothing. The order is the published one: bias, penalties,
// temperature, top-k, top-p, min-p. Ties go to the lower id.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "base/random.h"

namespace cadre {

struct SamplerConfig {
  double temperature = 0;  // 0: the likeliest token
  int64_t top_k = 0;       // keep the k likeliest; 0: all
  double top_p = 1;  // keep the likeliest until their mass reaches p; the one that crosses p stays
  double min_p = 0;  // keep what is at least min_p times as likely as the likeliest
  double repeat_penalty =
      1;  // divides positive logits, multiplies negative ones, of kRepeatWindow last tokens
  double presence_penalty = 0;   // subtracted from the logit of every token generated so far
  double frequency_penalty = 0;  // subtracted once per time it was generated
  std::vector<std::pair<int32_t, float>> logit_bias = {};  // (id, what is added to its logit)
  uint64_t seed = 0;

  static constexpr size_t kRepeatWindow = 64;

  // Throws Error naming the setting, what it is and what it must be.
  void Validate() const;
};

// What came before: the prompt and then `num_generated` tokens of the answer.
struct TokenHistory {
  std::span<const int32_t> ids;
  size_t num_generated = 0;
};

// Holds scratch; one per thread.
class Sampler {
 public:
  // Throws Error as SamplerConfig::Validate.
  explicit Sampler(const SamplerConfig& config);

  // logits: [vocab]; minus infinity is a token that cannot be. Takes one draw unless temperature is
  // 0. Throws Error when a logit is NaN or plus infinity or none is possible; ids of the history
  // outside the vocabulary are ignored.
  int32_t Sample(std::span<const float> logits, const TokenHistory& history, Random& random);

 private:
  struct Candidate {
    int32_t id;
    double weight;  // exp of the logit's distance from the highest, over temperature
  };

  void ApplyBias();
  void ApplyPenalties(const TokenHistory& history);
  void KeepLikeliest();
  int32_t Draw(double uniform) const;

  SamplerConfig config_;
  std::vector<double> logits_;
  std::vector<int32_t> times_generated_;  // all zero between calls
  std::vector<Candidate> candidates_;
};

}  // namespace cadre
