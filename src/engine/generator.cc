#include "engine/generator.h"

#include <algorithm>

#include "base/clock.h"
#include "base/error.h"
#include "engine/answer_text.h"

namespace cadre {
namespace {

double Rate(int64_t count, double seconds) {
  return count > 0 && seconds > 0 ? static_cast<double>(count) / seconds : 0;
}

}  // namespace

double GenerateResult::prompt_tokens_per_s() const {
  return Rate(prompt_tokens - reused_tokens, prompt_s);
}

// The first token comes out of the prompt's own run.
double GenerateResult::generated_tokens_per_s() const {
  return Rate(std::ssize(ids) - 1, generate_s);
}

Generator::Generator(const Model& model, ExpertSource& experts, Device& device,
                     const Tokenizer& tokenizer, const GeneratorConfig& config)
    : tokenizer_(&tokenizer),
      eos_ids_(model.config.eos_ids),
      context_length_(config.context_length == 0 ? model.config.context_length
                                                 : config.context_length),
      sequence_(model, experts, device, config.sequence),
      logits_(model.config.vocab_size),
      num_sampled_ids_(std::min<int64_t>(tokenizer.vocab_size(), model.config.vocab_size)) {
  if (context_length_ < 1) throw Error("context is {} but must be at least 1", context_length_);
  if (tokenizer.eos_id() >= 0) eos_ids_.push_back(tokenizer.eos_id());
}

GenerateResult Generator::Generate(const GenerateRequest& request, const TokenCallback& on_token) {
  CheckRequest(request);
  GenerateResult result;
  Sampler sampler(request.sampler);
  AnswerText text(*tokenizer_, request.leading_space, request.stops);
  const auto give = [&](int32_t id, const std::string& piece) {
    result.text += piece;
    if (on_token) on_token({id, piece});
  };
  const RunOptions run{request.observer, request.cancelled};
  const Mat<float> logits = logits_.AsMat(1, logits_.size());
  const auto is_cancelled = [&] { return request.cancelled != nullptr && *request.cancelled; };

  result.prompt_tokens = std::ssize(request.prompt_ids);
  result.reused_tokens = sequence_.KeepPrefixOf(request.prompt_ids);
  const Stopwatch prompt_watch;
  const auto to_run =
      std::span(request.prompt_ids).subspan(static_cast<size_t>(result.reused_tokens));
  const bool ran = sequence_.Append(to_run, logits, run);
  result.prompt_s = prompt_watch.Seconds();
  if (!ran) {
    result.finish_reason = FinishReason::kCancelled;
    return result;
  }

  std::vector<int32_t> history = request.prompt_ids;
  const Stopwatch generate_watch;
  while (true) {
    result.finish_reason = FinishReason::kLength;
    if (std::ssize(result.ids) >= request.max_tokens || std::ssize(history) >= context_length_)
      break;
    if (!result.ids.empty()) sequence_.Append({&history.back(), 1}, logits, run);
    result.finish_reason = FinishReason::kCancelled;
    if (is_cancelled()) break;
    Random random(request.sampler.seed, 0, history.size());
    const int32_t id = sampler.Sample(logits_.span().first(static_cast<size_t>(num_sampled_ids_)),
                                      {history, result.ids.size()}, random);
    result.finish_reason = FinishReason::kStop;
    if (IsEnd(id)) break;
    history.push_back(id);
    result.ids.push_back(id);
    give(id, text.Push(id).text);
    if (text.stopped()) break;
  }
  const std::string rest = text.Finish().text;
  if (!rest.empty()) give(-1, rest);
  result.generate_s = generate_watch.Seconds();
  return result;
}

void Generator::CheckRequest(const GenerateRequest& request) const {
  if (request.prompt_ids.empty()) throw Error("the prompt is empty but must have a token");
  if (std::ssize(request.prompt_ids) > context_length_) {
    throw Error("the prompt is {} tokens but the context is {}", request.prompt_ids.size(),
                context_length_);
  }
  if (request.max_tokens < 0)
    throw Error("the number of tokens is {} but must be 0 or more", request.max_tokens);
}

bool Generator::IsEnd(int32_t id) const {
  return std::find(eos_ids_.begin(), eos_ids_.end(), id) != eos_ids_.end();
}

}  // namespace cadre
