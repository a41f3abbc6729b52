// The parts of an answer that every endpoint spells alike: identity, usage, log-probabilities,
// routing, tool calls.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "engine/request.h"
#include "text/chat.h"
#include "text/tokenizer.h"

namespace cadre {

struct AnswerHead {
  std::string id;  // "chatcmpl-..."
  int64_t created = 0;
  std::string model;  // as it is served
};

// "chatcmpl-" and the like, then 24 characters that do not come again.
std::string MakeAnswerId(const char* prefix);

// What the answers of one request cost. A prompt is counted once, however many answers it has.
class UsageSum {
 public:
  void Add(const RequestUsage& usage, bool counts_prompt);
  OrderedJson Json() const;

 private:
  RequestUsage sum_;
  double weighted_experts_ = 0;
  double weight_ = 0;
};

// {"content":[{token, logprob, bytes, top_logprobs}], "refusal":null}
OrderedJson ChatLogprobs(const Tokenizer& tokenizer, std::span<const OutputToken> tokens);

// {tokens, token_logprobs, top_logprobs, text_offset}; `offset`: characters of the choice's text
// before these tokens, moved behind them; -1 where a space that the text
// does not show comes first. A token that was in the prompt's first place has null.
OrderedJson CompletionLogprobs(const Tokenizer& tokenizer, std::span<const OutputToken> tokens,
                               bool with_top, int64_t& offset);

// [{id, text, experts [layers][used], gates [layers][used], entropy [layers]}]; empty lists for a
// token that was never read.
OrderedJson RoutingTokens(const Tokenizer& tokenizer, std::span<const OutputToken> tokens,
                          int64_t num_layers);

// [{id, index, type, function}], the first with index `first`.
OrderedJson ToolCallsJson(std::span<const ToolCall> calls, size_t first);

// "stop", "length" or "tool_calls".
std::string_view FinishReasonName(FinishReason reason, bool called);

// Compact, valid UTF-8.
std::string Dump(const OrderedJson& json);

}  // namespace cadre
