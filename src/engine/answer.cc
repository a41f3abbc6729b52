#include "engine/answer.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "base/clock.h"
#include "base/error.h"

namespace cadre {
namespace {

constexpr float kImpossible = -std::numeric_limits<float>::infinity();

double LogSumExp(std::span<const float> logits) {
  const double most = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - most);
  return most + std::log(sum);
}

// The `count` likeliest, likeliest first, ties to the lower id.
std::vector<TokenLogprob> Likeliest(std::span<const float> logits, double log_sum, int count) {
  std::vector<TokenLogprob> best;
  const auto more_likely = [](const TokenLogprob& a, const TokenLogprob& b) {
    return a.logprob != b.logprob ? a.logprob > b.logprob : a.id < b.id;
  };
  for (size_t i = 0; i < logits.size(); ++i) {
    const TokenLogprob token = {static_cast<int32_t>(i), logits[i]};
    if (std::ssize(best) == count && (count == 0 || !more_likely(token, best.back()))) continue;
    if (std::ssize(best) == count) best.pop_back();
    best.insert(std::upper_bound(best.begin(), best.end(), token, more_likely), token);
  }
  for (auto& token : best)
    token.logprob = static_cast<float>(static_cast<double>(token.logprob) - log_sum);
  return best;
}

bool Has(std::span<const uint64_t> mask, size_t id) {
  return (mask[id / 64] >> (id % 64) & 1) != 0;
}

}  // namespace

Answer::Answer(const Request& request, const AnswerLimits& limits, const Tokenizer& tokenizer)
    : request_(request),
      limits_(limits),
      sampler_(request.sampler),
      text_(tokenizer, request.leading_space, request.stops) {
  if (request.prompt_logprobs || request.routing) {
    prompt_tokens_.resize(request.prompt_ids.size());
    for (size_t i = 0; i < prompt_tokens_.size(); ++i) prompt_tokens_[i].id = request.prompt_ids[i];
  }
  const RequestConstraint& constraint = request.constraint;
  if (constraint.grammar == nullptr) return;
  allowed_.resize((static_cast<size_t>(tokenizer.vocab_size()) + 63) / 64);
  if (constraint.trigger_id < 0) {
    constraint_ = constraint.grammar->Start();
    FindAllowed();
  }
}

bool Answer::IsEnd(int32_t id) const {
  return std::find(limits_.eos_ids.begin(), limits_.eos_ids.end(), id) != limits_.eos_ids.end();
}

void Answer::FindAllowed() {
  constraint_->AllowedTokens(allowed_);
  must_end_ =
      std::all_of(allowed_.begin(), allowed_.end(), [](uint64_t bits) { return bits == 0; });
  if (must_end_ && !constraint_->CanEnd()) {
    throw Error("the grammar of the answer allows nothing that the tokenizer has a token for");
  }
}

void Answer::MaskLogits(std::span<float> logits) {
  const RequestConstraint& constraint = request_.constraint;
  const bool is_trigger = constraint_ == nullptr && constraint.trigger_first && num_generated_ == 0;
  const bool can_end = !request_.ignore_eos && num_generated_ >= request_.min_tokens &&
                       !is_trigger && (constraint_ == nullptr || constraint_->CanEnd());
  std::vector<float> eos_logits;
  for (const int32_t eos : limits_.eos_ids) {
    if (eos < 0 || eos >= std::ssize(logits)) continue;
    eos_logits.push_back(logits[static_cast<size_t>(eos)]);
  }
  for (size_t i = 0; i < logits.size(); ++i) {
    const bool is_allowed = is_trigger ? static_cast<int32_t>(i) == constraint.trigger_id
                            : constraint_ != nullptr ? Has(allowed_, i)
                                                     : true;
    if (!is_allowed) logits[i] = kImpossible;
  }
  size_t next = 0;
  for (const int32_t eos : limits_.eos_ids) {
    if (eos < 0 || eos >= std::ssize(logits)) continue;
    logits[static_cast<size_t>(eos)] = can_end ? eos_logits[next] : kImpossible;
    ++next;
  }
}

void Answer::Accept(int32_t id) {
  if (request_.constraint.grammar == nullptr) return;
  const Stopwatch watch;
  if (constraint_ != nullptr) {
    CADRE_CHECK(constraint_->Accept(id));
    FindAllowed();
  } else if (id == request_.constraint.trigger_id) {
    constraint_ = request_.constraint.grammar->Start();
    FindAllowed();
  }
  constraint_s_ += watch.Seconds();
}

bool Answer::Next(std::span<float> all_logits, std::vector<int32_t>& ids) {
  CADRE_CHECK(!ended());
  if (num_generated_ >= request_.max_tokens || std::ssize(ids) >= limits_.context_length) {
    End(FinishReason::kLength);
    return false;
  }
  const auto logits = all_logits.first(static_cast<size_t>(limits_.num_sampled_ids));
  OutputToken token;
  double log_sum = 0;
  if (request_.top_logprobs >= 0) {
    log_sum = LogSumExp(all_logits);
    token.top_logprobs = Likeliest(logits, log_sum, request_.top_logprobs);
  }
  MaskLogits(logits);
  Random random(request_.sampler.seed, 0, ids.size());
  const int32_t id = sampler_.Sample(logits, {ids, static_cast<size_t>(num_generated_)}, random);
  if (IsEnd(id)) {
    End(FinishReason::kStop);
    return false;
  }
  token.id = id;
  if (request_.top_logprobs >= 0) {
    token.logprob =
        static_cast<float>(static_cast<double>(logits[static_cast<size_t>(id)]) - log_sum);
  }
  ids.push_back(id);
  ++num_generated_;
  Accept(id);
  const auto shown = text_.Push(id, num_generated_ > request_.min_tokens);
  token.text_end = text_.decoded_bytes();
  tokens_.push_back(std::move(token));
  told_text_ += shown.text;
  num_shown_ += shown.tokens;
  if (text_.stopped() || must_end_) {
    End(FinishReason::kStop);
  } else if (num_generated_ >= request_.max_tokens || std::ssize(ids) >= limits_.context_length) {
    End(FinishReason::kLength);
  }
  return !ended();
}

void Answer::SetPromptLogprobs(int64_t position, std::span<const float> logits) {
  if (position + 1 >= std::ssize(prompt_tokens_)) return;
  OutputToken& token = prompt_tokens_[static_cast<size_t>(position) + 1];
  const double log_sum = LogSumExp(logits);
  token.logprob =
      static_cast<float>(static_cast<double>(logits[static_cast<size_t>(token.id)]) - log_sum);
  token.top_logprobs = Likeliest(logits.first(static_cast<size_t>(limits_.num_sampled_ids)),
                                 log_sum, std::max(request_.top_logprobs, 0));
}

// Null: told already, or never to be told.
OutputToken* Answer::TokenAt(int64_t position) {
  const int64_t num_prompt = std::ssize(request_.prompt_ids);
  if (position < num_prompt)
    return prompt_tokens_.empty() ? nullptr : &prompt_tokens_[static_cast<size_t>(position)];
  const int64_t i = position - num_prompt - (num_generated_ - std::ssize(tokens_));
  return i < 0 || i >= std::ssize(tokens_) ? nullptr : &tokens_[static_cast<size_t>(i)];
}

void Answer::SetRouting(int64_t position, TokenRouting routing) {
  if (OutputToken* token = TokenAt(position)) token->routing = std::move(routing);
}

void Answer::End(FinishReason reason, std::string error) {
  CADRE_CHECK(!ended());
  reason_ = reason;
  error_ = std::move(error);
  if (reason == FinishReason::kError) return;
  const auto shown = text_.Finish();
  told_text_ += shown.text;
  num_shown_ += shown.tokens;
}

RequestEvent Answer::TakeEvent() {
  RequestEvent event;
  event.text = std::exchange(told_text_, {});
  while (num_shown_ > 0 &&
         (ended() || !request_.routing || !tokens_.front().routing.experts.empty())) {
    event.tokens.push_back(std::move(tokens_.front()));
    tokens_.pop_front();
    --num_shown_;
  }
  if (ended()) {
    event.end.emplace();
    event.end->reason = *reason_;
    event.end->error = error_;
    event.end->hit_stop_string = text_.stopped();
    event.end->usage.prompt_tokens = std::ssize(request_.prompt_ids);
    event.end->usage.generated_tokens = num_generated_;
    event.end->prompt_tokens = std::move(prompt_tokens_);
  }
  return event;
}

}  // namespace cadre
