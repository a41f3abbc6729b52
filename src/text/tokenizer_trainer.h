// Learns a vocabulary from text as Mistral's was learnt: sentencepiece BPE with byte fallback,
// every digit alone, text as it is (identity), runs of spaces kept. Ids: 0 <unk>, 1 <s>, 2
// </s>, 3..258 the bytes, then merges, then single characters. Newlines and tabs always become
// bytes. The same input and settings give the same vocabulary.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "text/vocabulary.h"

namespace cadre {

struct TokenizerTrainerConfig {
  int32_t vocab_size = 4096;  // exactly; at least 300
  double character_coverage = 0.9995;
  // Lines are drawn at random, the same for the same seed, so that about this much text is used.
  // Memory grows with it.
  size_t max_input_bytes = size_t{12} << 20;
  uint64_t seed = 0;
  int num_threads = 1;  // does not change the result
};

// Learns from `documents`, any length each. Throws Error when the text is too small for the size
// wanted, or the settings are wrong.
Vocabulary TrainTokenizer(std::span<const std::string> documents,
                          const TokenizerTrainerConfig& config);

}  // namespace cadre
