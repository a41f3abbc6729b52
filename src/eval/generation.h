// Texts that a model writes behind many prompts: through the engine, so rows of many prompts share
// a step and what prompts have in common is computed once. What comes is handed on in the order of
// the prompts, and is what each prompt would get alone, bit for bit (engine/engine.h).
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "engine/engine.h"

namespace cadre {

struct GenerationPrompt {
  std::vector<int32_t> ids;        // BOS included where one is wanted
  std::vector<std::string> stops;  // a text ends before the first of them
  int64_t max_tokens = 256;
  int samples = 1;         // texts
  double temperature = 0;  // 0: the likeliest token; several samples would be the same
  double top_p = 1;
  uint64_t seed = 0;  // of all samples; each draws on its own
  LeadingSpace leading_space = LeadingSpace::kKeep;
};

struct GeneratedText {
  std::string text;          // without the stop string
  std::vector<int32_t> ids;  // sampled, without EOS
  FinishReason reason = FinishReason::kStop;
};

struct GeneratorLimits {
  SequenceConfig sequence = {};
  int64_t context_length = 0;  // prompt and text; 0: what the model was trained for
  int64_t parallel = 32;       // texts that share a step
  int64_t kv_bytes = 0;        // of all keys and values; 0: as the engine finds memory
  bool shares = true;          // false: one text after another from its first token on, no guesses
};

// Not thread-safe. What the constructor is given must outlive it; it owns an engine.
class TextGenerator {
 public:
  TextGenerator(const Model& model, ExpertSource& experts, Device& device,
                const Tokenizer& tokenizer, const GeneratorLimits& limits);

  using PromptOf = std::function<GenerationPrompt(size_t index)>;
  using Take = std::function<void(size_t index, std::vector<GeneratedText> samples)>;

  // Asks for prompts [begin, end) and calls `take` for each, in this order, on this thread; what
  // `take` throws goes on to the caller. False: cancelled; some were not taken. Throws Error for a
  // prompt that does not fit, and for a model whose logits are no numbers.
  bool Run(size_t begin, size_t end, const PromptOf& prompt, const Take& take,
           const std::atomic<bool>* cancelled);

  int64_t context_length() const { return engine_.context_length(); }
  // Since the beginning: tokens of prompts that were not run again, and all generated ones.
  EngineStats stats() const { return engine_.stats(); }

 private:
  int64_t parallel_;
  Engine engine_;
};

// The seed of sample `sample` of a prompt whose seed is `seed`; sample 0 has it unchanged.
uint64_t SampleSeed(uint64_t seed, int sample);

// A prompt's own seed, of a run's seed and its index.
uint64_t PromptSeed(uint64_t seed, size_t index);

}  // namespace cadre
