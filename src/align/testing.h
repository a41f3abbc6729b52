// What the tests of this floor share: a tokenizer, a tiny model that speaks it, and samples.
#pragma once

#include <string>
#include <vector>

#include "align/sample.h"
#include "engine/test_model.h"
#include "train/testing.h"

namespace cadre::align_testing {

inline const Tokenizer& SmallTokenizer() {
  static const Tokenizer tokenizer(testing_model::SmallVocabulary(), "small");
  return tokenizer;
}

inline ChatText SmallText() { return {SmallTokenizer(), ChatVersion::kV1}; }

inline Sample ChatSample(const std::string& question, const std::string& answer) {
  DataLine line;
  line.messages = {{.role = Role::kUser, .content = question},
                   {.role = Role::kAssistant, .content = answer}};
  return EncodeSample(line, SmallText(), "test");
}

// A trainer of random weights with the tokenizer's vocabulary.
struct SmallRun : train_testing::TinyRun {
  explicit SmallRun(const OptimiserConfig& optimiser = {}) : TinyRun(optimiser, Config()) {}

  static ModelConfig Config() {
    ModelConfig tiny = model_testing::TinyConfig();
    tiny.vocab_size = SmallTokenizer().vocab_size();
    return tiny;
  }
};

}  // namespace cadre::align_testing
