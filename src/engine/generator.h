// Continues a text, one sequence at a time: prompt, sample, run, until an end. Keeps keys and
// values between calls, so that a prompt that extends the last text costs only what is new (chat
// turns), with the same result as from scratch.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/finish_reason.h"
#include "engine/sampler.h"
#include "engine/sequence.h"
#include "text/tokenizer.h"
#include "text/utf8_stream.h"

namespace cadre {

struct GeneratorConfig {
  SequenceConfig sequence;
  int64_t context_length =
      0;  // prompt and answer together, in tokens; 0: what the model was trained for
};

struct GenerateRequest {
  std::vector<int32_t> prompt_ids;  // BOS included where one is wanted
  SamplerConfig sampler;
  int64_t max_tokens = 128;
  std::vector<std::string> stops;  // the text ends before the first of them
  LeadingSpace leading_space = LeadingSpace::kKeep;
  const RoutingObserver* observer = nullptr;
  const std::atomic<bool>* cancelled = nullptr;  // set by another thread or a signal to end early
};

struct GenerateResult {
  std::vector<int32_t> ids;  // sampled, without EOS; with the tokens that made a stop string
  std::string text;          // without the stop string
  FinishReason finish_reason = FinishReason::kLength;
  int64_t prompt_tokens = 0;
  int64_t reused_tokens = 0;  // of the prompt, not run again
  double prompt_s = 0;
  double generate_s = 0;  // from the first sampled token on

  double prompt_tokens_per_s() const;  // of those that were run; 0 when none
  double generated_tokens_per_s() const;
};

// A token and the text that it completes: valid UTF-8, often empty. The last event may have id -1:
// text that was held back.
struct TokenEvent {
  int32_t id;
  std::string_view text;
};
using TokenCallback = std::function<void(const TokenEvent& event)>;

// Not thread-safe. What the constructor is given must outlive it.
class Generator {
 public:
  // Throws Error for a negative context.
  Generator(const Model& model, ExpertSource& experts, Device& device, const Tokenizer& tokenizer,
            const GeneratorConfig& config);

  int64_t context_length() const { return context_length_; }
  int64_t kv_bytes() const { return sequence_.kv_bytes(); }

  // Throws Error for an empty prompt, one longer than the context, ids outside the vocabulary, or
  // settings out of range. The draw at a position is a function of seed and position only.
  GenerateResult Generate(const GenerateRequest& request, const TokenCallback& on_token = {});

 private:
  void CheckRequest(const GenerateRequest& request) const;
  bool IsEnd(int32_t id) const;

  const Tokenizer* tokenizer_;
  std::vector<int32_t> eos_ids_;
  int64_t context_length_;
  Sequence sequence_;
  Buffer<float> logits_;     // [vocab]
  int64_t num_sampled_ids_;  // ids that the tokenizer knows; padding rows of the embedding are
                             // never sampled
};

}  // namespace cadre
