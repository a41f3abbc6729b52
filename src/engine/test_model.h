// A small random Mixtral and a small vocabulary for the tests of this floor and of those above it.
#pragma once

#include <string>

#include "base/random.h"
#include "model/parameters.h"
#include "text/tokenizer.h"

namespace cadre::testing_model {

// <unk>, <s>, </s>, the 256 bytes, the space symbol, and the letters a to z with and without a
// space before them.
inline Vocabulary SmallVocabulary() {
  Vocabulary vocabulary;
  vocabulary.pieces = {{"<unk>", 0, PieceType::kUnknown},
                       {"<s>", 0, PieceType::kControl},
                       {"</s>", 0, PieceType::kControl}};
  for (int byte = 0; byte < 256; ++byte) {
    vocabulary.pieces.push_back({PieceOfByte(static_cast<uint8_t>(byte)), 0, PieceType::kByte});
  }
  const std::string space(kSpaceSymbol);
  float score = 0;
  for (char letter = 'a'; letter <= 'z'; ++letter)
    vocabulary.pieces.push_back({space + letter, score -= 1});
  vocabulary.pieces.push_back({space, score -= 1});
  for (char letter = 'a'; letter <= 'z'; ++letter)
    vocabulary.pieces.push_back({std::string(1, letter), score -= 1});
  vocabulary.unk_id = 0;
  vocabulary.bos_id = 1;
  vocabulary.eos_id = 2;
  return vocabulary;
}

struct SmallModel {
  ModelConfig config;
  Buffer<float> arena;
  Model model;
};

inline ModelConfig SmallConfig(int64_t window = 0, int64_t vocab_size = SmallVocabulary().size()) {
  ModelConfig config;
  config.dim = 64;
  config.hidden_dim = 96;
  config.num_layers = 2;
  config.num_heads = 4;
  config.num_kv_heads = 2;
  config.head_dim = 16;
  config.vocab_size = vocab_size;
  config.context_length = 4096;
  config.sliding_window = window;
  config.rope_theta = 10000;
  config.router = {.num_experts = 4, .top_k = 2};
  return config;
}

inline SmallModel MakeModel(const ModelConfig& config, uint64_t seed = 7) {
  SmallModel small;
  small.config = config;
  config.Validate("test");
  const ParameterLayout layout(config);
  small.arena.Resize(layout.size());
  Random random(seed);
  for (const auto& parameter : layout.parameters()) {
    for (int64_t i = 0; i < parameter.size(); ++i) {
      const double value = parameter.is_norm ? 1.0 : 0.25 * random.NextNormal();
      small.arena[parameter.offset + i] = static_cast<float>(value);
    }
  }
  small.model = layout.Bind(small.arena.data());
  return small;
}

inline SmallModel MakeSmallModel(int64_t window = 0, uint64_t seed = 7,
                                 int64_t vocab_size = SmallVocabulary().size()) {
  return MakeModel(SmallConfig(window, vocab_size), seed);
}

}  // namespace cadre::testing_model
