#include "server/completion_answers.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "server/event_stream.h"

namespace cadre {
namespace {

struct Answer {
  std::string text;
  std::vector<OutputToken> tokens;
  std::vector<OutputToken> prompt_tokens;
  FinishReason reason = FinishReason::kStop;
};

// Per token, so that long answers are not worse for being long.
double MeanLogprob(const Answer& answer) {
  double sum = 0;
  for (const OutputToken& token : answer.tokens) sum += token.logprob.value_or(0);
  return answer.tokens.empty() ? 0 : sum / static_cast<double>(answer.tokens.size());
}

class CompletionAnswers : public AnswerWriter {
 public:
  CompletionAnswers(const ApiConfig& config, CompletionAnswerOptions options)
      : config_(config), options_(std::move(options)) {}

 protected:
  size_t PromptOf(size_t request) const { return request / options_.best_of; }
  bool WantsTokens() const {
    return options_.top_logprobs >= 0 || options_.routing != RoutingDetail::kNone ||
           options_.best_of > options_.n;
  }

  void AddUsage(size_t request, const RequestEnd& end) {
    usage_.Add(end.usage, request % options_.best_of == 0);
  }

  // The part of a choice after its index: text, logprobs, routing, finish_reason. `offset`:
  // characters of the choice's text before `tokens`.
  OrderedJson ChoiceJson(size_t index, std::string text, std::span<const OutputToken> tokens,
                         int64_t& offset, OrderedJson finish_reason) const {
    OrderedJson json = {{"index", index},
                        {"text", std::move(text)},
                        {"logprobs", nullptr},
                        {"finish_reason", std::move(finish_reason)}};
    if (options_.top_logprobs >= 0 && !tokens.empty()) {
      json["logprobs"] =
          CompletionLogprobs(*config_.tokenizer, tokens, options_.top_logprobs > 0, offset);
    }
    return json;
  }

  OrderedJson Routing(std::span<const OutputToken> tokens) const {
    return RoutingTokens(*config_.tokenizer, tokens, config_.model->num_layers);
  }

  // Echo shows the prompt's text without the space that encoding put before it.
  int64_t EchoOffset(std::span<const OutputToken> prompt) const {
    const Tokenizer& tokenizer = *config_.tokenizer;
    for (const OutputToken& token : prompt) {
      if (tokenizer.IsControl(token.id)) continue;
      return tokenizer.PieceBytes(token.id).starts_with(' ') ? -1 : 0;
    }
    return 0;
  }

  // A whole choice, with the prompt where it is to be echoed.
  OrderedJson WholeChoice(size_t index, size_t prompt, Answer answer) const {
    const std::string text =
        options_.echo ? options_.prompt_texts[prompt] + answer.text : std::move(answer.text);
    std::vector<OutputToken> tokens;
    if (options_.echo) tokens = answer.prompt_tokens;
    int64_t offset = EchoOffset(tokens);
    tokens.insert(tokens.end(), answer.tokens.begin(), answer.tokens.end());
    OrderedJson json =
        ChoiceJson(index, text, tokens, offset, FinishReasonName(answer.reason, false));
    if (options_.routing != RoutingDetail::kNone)
      json["routing"] = {{"tokens", Routing(answer.tokens)}};
    if (options_.routing == RoutingDetail::kAll)
      json["routing"]["prompt"] = Routing(answer.prompt_tokens);
    return json;
  }

  void AddEvent(Answer& answer, RequestEvent& event) const {
    answer.text += event.text;
    if (WantsTokens()) {
      answer.tokens.insert(answer.tokens.end(), std::make_move_iterator(event.tokens.begin()),
                           std::make_move_iterator(event.tokens.end()));
    }
    if (!event.end) return;
    answer.reason = event.end->reason;
    answer.prompt_tokens = std::move(event.end->prompt_tokens);
  }

  OrderedJson Body(OrderedJson choices) const {
    return {{"id", options_.head.id},
            {"object", "text_completion"},
            {"created", options_.head.created},
            {"model", options_.head.model},
            {"choices", std::move(choices)}};
  }

  const ApiConfig& config_;
  const CompletionAnswerOptions options_;
  UsageSum usage_;
};

class WholeCompletionAnswers : public CompletionAnswers {
 public:
  WholeCompletionAnswers(const ApiConfig& config, CompletionAnswerOptions options)
      : CompletionAnswers(config, std::move(options)),
        answers_(options_.prompt_texts.size() * options_.best_of) {}

  void Begin(HttpReply&) override {}

  void Event(size_t index, RequestEvent event, HttpReply&) override {
    if (event.end) AddUsage(index, *event.end);
    AddEvent(answers_[index], event);
  }

  void End(HttpReply& reply) override {
    OrderedJson choices = OrderedJson::array();
    for (size_t prompt = 0; prompt < options_.prompt_texts.size(); ++prompt) {
      for (const size_t request : Best(prompt))
        choices.push_back(WholeChoice(choices.size(), prompt, std::move(answers_[request])));
    }
    OrderedJson body = Body(std::move(choices));
    body["usage"] = usage_.Json();
    reply.Respond({.body = Dump(body)});
  }

  void Fail(const ApiError& error, HttpReply& reply) override { reply.Respond(error.Response()); }

 private:
  // The n requests of a prompt that are told, likeliest first where there was a choice.
  std::vector<size_t> Best(size_t prompt) const {
    std::vector<size_t> requests(options_.best_of);
    std::iota(requests.begin(), requests.end(), prompt * options_.best_of);
    if (options_.best_of > options_.n) {
      std::ranges::stable_sort(requests, [&](size_t a, size_t b) {
        return MeanLogprob(answers_[a]) > MeanLogprob(answers_[b]);
      });
      requests.resize(options_.n);
    }
    return requests;
  }

  std::vector<Answer> answers_;
};

class StreamedCompletionAnswers : public CompletionAnswers {
 public:
  StreamedCompletionAnswers(const ApiConfig& config, CompletionAnswerOptions options)
      : CompletionAnswers(config, std::move(options)),
        choices_(options_.prompt_texts.size() * options_.n) {}

  void Begin(HttpReply& reply) override { StartEvents(reply); }

  void Event(size_t index, RequestEvent event, HttpReply& reply) override {
    Choice& choice = choices_[index];
    if (event.end) {
      AddUsage(index, *event.end);
      ++num_ended_;
    }
    // The prompt's log-probabilities are known at the end only, and come before the answer's.
    if (options_.echo && options_.top_logprobs >= 0) {
      const bool ended = event.end.has_value();
      AddEvent(choice.held, event);
      if (ended) WriteChoice(WholeChoice(index, PromptOf(index), std::move(choice.held)), reply);
      return;
    }
    std::string text = std::move(event.text);
    if (options_.echo && !std::exchange(choice.begun, true))
      text.insert(0, options_.prompt_texts[PromptOf(index)]);
    const bool has_detail = !event.tokens.empty() && WantsTokens();
    if (!text.empty() || has_detail) {
      OrderedJson json = ChoiceJson(index, std::move(text), event.tokens, choice.offset, nullptr);
      if (options_.routing != RoutingDetail::kNone && !event.tokens.empty())
        json["routing"] = {{"tokens", Routing(event.tokens)}};
      WriteChoice(std::move(json), reply);
    }
    if (event.end) EndChoice(index, *event.end, reply);
  }

  void End(HttpReply& reply) override {
    if (options_.include_usage) {
      OrderedJson body = Body(OrderedJson::array());
      body["usage"] = usage_.Json();
      WriteEvent(reply, Dump(body));
    }
    FinishEvents(reply);
  }

  void Fail(const ApiError& error, HttpReply& reply) override {
    WriteEvent(reply, error.Body());
    FinishEvents(reply);
  }

 private:
  struct Choice {
    bool begun = false;
    int64_t offset = 0;
    Answer held;  // with echo and log-probabilities
  };

  void EndChoice(size_t index, const RequestEnd& end, HttpReply& reply) {
    OrderedJson json =
        ChoiceJson(index, "", {}, choices_[index].offset, FinishReasonName(end.reason, false));
    if (options_.routing == RoutingDetail::kAll)
      json["routing"] = {{"prompt", Routing(end.prompt_tokens)}};
    WriteChoice(std::move(json), reply);
  }

  void WriteChoice(OrderedJson choice, HttpReply& reply) const {
    OrderedJson body = Body(OrderedJson::array({std::move(choice)}));
    if (options_.include_usage) {
      body["usage"] = nullptr;
    } else if (num_ended_ == choices_.size() && !body["choices"][0]["finish_reason"].is_null()) {
      body["usage"] = usage_.Json();
    }
    WriteEvent(reply, Dump(body));
  }

  std::vector<Choice> choices_;
  size_t num_ended_ = 0;
};

}  // namespace

std::unique_ptr<AnswerWriter> MakeCompletionAnswers(const ApiConfig& config,
                                                    CompletionAnswerOptions options) {
  if (options.stream)
    return std::make_unique<StreamedCompletionAnswers>(config, std::move(options));
  return std::make_unique<WholeCompletionAnswers>(config, std::move(options));
}

}  // namespace cadre
