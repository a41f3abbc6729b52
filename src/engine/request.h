// What an application asks of the engine, and what it is told while the answer comes.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/finish_reason.h"
#include "engine/sampler.h"
#include "grammar/constraint.h"
#include "text/utf8_stream.h"

namespace cadre {

// The constraint of an answer. With a trigger the text before that token is free (the model may
// speak or, say, call a tool) and the grammar begins behind it.
struct RequestConstraint {
  std::shared_ptr<const Constraint> grammar;  // null: none
  int32_t trigger_id = -1;                    // -1: the grammar holds from the first token on
  bool trigger_first = false;                 // the first token must be the trigger
};

struct Request {
  std::vector<int32_t> prompt_ids;  // BOS included where one is wanted
  SamplerConfig sampler;
  int64_t max_tokens = 128;        // 0: nothing but the prompt is run, finish reason length
  int64_t min_tokens = 0;          // EOS and stop strings cannot end the answer before
  bool ignore_eos = false;         // EOS is never sampled: other ends hold, a grammar's own too
  std::vector<std::string> stops;  // the text ends before the first of them
  LeadingSpace leading_space = LeadingSpace::kKeep;
  RequestConstraint constraint;
  int top_logprobs = -1;  // -1: no log-probabilities; else that many likeliest beside the chosen
  bool prompt_logprobs = false;  // also of the prompt's tokens (echo); such a prompt is run whole
  int experts_per_token = 0;     // 0: the model's own number, else 1..all
  float min_expert_prob = 0;     // experts after the first that the router likes less are not used
  bool routing = false;          // tell the chosen experts of every token, prompt included
  bool embedding = false;        // no text: the mean of the prompt's normalised last hidden states
};

struct TokenLogprob {
  int32_t id;
  float logprob;  // natural, of the model's own distribution: before temperature, penalties, masks
};

// What the routers of one token did.
struct TokenRouting {
  std::vector<int32_t> experts;  // [layers, k] in order of choice; -1: unused
  std::vector<float> gates;      // [layers, k]
  std::vector<float> entropy;    // [layers] of the router's softmax over all experts, in nats
};

struct OutputToken {
  int32_t id = -1;
  int64_t text_end = 0;  // bytes of the answer's text up to the end of this token's; 0 in a prompt
  std::optional<float> logprob;  // none when not asked for, and for a prompt's first token
  std::vector<TokenLogprob> top_logprobs;  // likeliest first
  // Of the step that read this token, when asked for. The last token of an answer is never read:
  // empty there.
  TokenRouting routing;
};

struct RequestUsage {
  int64_t prompt_tokens = 0;
  int64_t cached_tokens = 0;     // of the prompt, taken from an earlier request
  int64_t generated_tokens = 0;  // sampled, EOS not counted
  int64_t drafted_tokens = 0;    // guessed by prompt lookup
  int64_t accepted_tokens = 0;   // of those, the ones that were right
  double experts_per_token = 0;  // mean over the tokens that were run and the layers
  double queue_s = 0;
  double prompt_s = 0;
  double generate_s = 0;  // from the first sampled token on
};

// The last thing that is told of a request.
struct RequestEnd {
  FinishReason reason = FinishReason::kStop;
  std::string error;  // with kError: one line
  bool hit_stop_string = false;
  RequestUsage usage;
  std::vector<float> embedding;            // [dim] when asked for
  std::vector<OutputToken> prompt_tokens;  // when prompt_logprobs or routing: [prompt]
};

struct RequestEvent {
  std::string text;                 // whole characters; may be empty
  std::vector<OutputToken> tokens;  // all of whose text is out, in this event or before; with
                                    // routing they come a step later, when it is known
  std::optional<RequestEnd> end;    // nothing follows
};

// Called on the engine's thread, in order, at most once a step; must be quick and must not throw
// nor call the engine.
using RequestCallback = std::function<void(RequestEvent event)>;

using RequestId = uint64_t;

}  // namespace cadre
