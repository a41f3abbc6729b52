// Preference data as pairs of samples with one prompt.
#pragma once

#include <string>
#include <vector>

#include "align/read_lines.h"
#include "align/sample.h"
#include "align/tune_config.h"

namespace cadre {

struct Pair {
  Sample chosen, rejected;  // learnt: the tokens of the answer

  int64_t rows() const { return std::ssize(chosen.tokens) + std::ssize(rejected.tokens) - 2; }
};

enum class Fit { kWhole, kCut, kUnusable };

// Cuts both to the limits where either is too long: first the prompts to max_prompt_tokens (BOS
// stays), then the answers to max_tokens - max_prompt_tokens. kUnusable: nothing is left of an
// answer, or the two have become the same.
Fit FitPair(Pair& pair, const PairLimits& limits);

struct PreferenceSource {
  std::string name;
  double weight = 0;
  std::vector<Pair> train;
  std::vector<Pair> held_back;
  LineCounts counts;
};

// As ReadInstructions.
std::vector<PreferenceSource> ReadPreferences(const std::vector<DataSource>& sources,
                                              const DpoConfig& config, double held_back,
                                              const ChatText& text, ThreadPool& threads);

// SHA-256 of what the pairs say, token by token.
std::string HashPairs(const std::vector<const Pair*>& pairs);

}  // namespace cadre
