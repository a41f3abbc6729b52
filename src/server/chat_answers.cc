#include "server/chat_answers.h"

#include <utility>

#include "server/call_id.h"
#include "server/event_stream.h"

namespace cadre {
namespace {

// What is told of one choice, in one piece of its stream or since the last.
struct ChoicePiece {
  std::string text;
  std::vector<ToolCall> calls;
};

class ChatAnswers : public AnswerWriter {
 public:
  ChatAnswers(const ApiConfig& config, ChatAnswerOptions options)
      : config_(config), options_(std::move(options)) {
    for (size_t i = 0; i < options_.n; ++i) {
      if (options_.tool_trigger_id)
        splitters_.emplace_back(*config.tokenizer, *options_.tool_trigger_id);
    }
    num_calls_.resize(options_.n);
  }

 protected:
  // The text and the calls of an event, calls with their ids.
  ChoicePiece Take(size_t index, RequestEvent& event) {
    if (splitters_.empty()) return {std::move(event.text), {}};
    ToolCallSplitter::Piece piece = splitters_[index].Push(event);
    for (ToolCall& call : piece.calls)
      call.id = MakeCallId(options_.head.id, index, num_calls_[index]++);
    return {std::move(piece.text), std::move(piece.calls)};
  }

  void AddUsage(const RequestEnd& end) {
    usage_.Add(end.usage, num_ended_ == 0);
    ++num_ended_;
  }

  bool Called(size_t index) const { return num_calls_[index] > 0; }

  OrderedJson PromptRouting(const RequestEnd& end) const {
    return RoutingTokens(*config_.tokenizer, end.prompt_tokens, config_.model->num_layers);
  }
  OrderedJson AnswerRouting(std::span<const OutputToken> tokens) const {
    return RoutingTokens(*config_.tokenizer, tokens, config_.model->num_layers);
  }

  const ApiConfig& config_;
  const ChatAnswerOptions options_;
  std::vector<ToolCallSplitter> splitters_;  // [n], or none
  std::vector<size_t> num_calls_;            // [n]
  UsageSum usage_;
  size_t num_ended_ = 0;
};

class WholeChatAnswers : public ChatAnswers {
 public:
  WholeChatAnswers(const ApiConfig& config, ChatAnswerOptions options)
      : ChatAnswers(config, std::move(options)), choices_(options_.n) {
    for (Choice& choice : choices_) choice.text = options_.prefix;
  }

  void Begin(HttpReply&) override {}

  void Event(size_t index, RequestEvent event, HttpReply&) override {
    Choice& choice = choices_[index];
    ChoicePiece piece = Take(index, event);
    choice.text += piece.text;
    choice.calls.insert(choice.calls.end(), piece.calls.begin(), piece.calls.end());
    if (options_.logprobs || options_.routing != RoutingDetail::kNone) {
      choice.tokens.insert(choice.tokens.end(), std::make_move_iterator(event.tokens.begin()),
                           std::make_move_iterator(event.tokens.end()));
    }
    if (!event.end) return;
    AddUsage(*event.end);
    choice.reason = event.end->reason;
    if (options_.routing == RoutingDetail::kAll) choice.prompt_routing = PromptRouting(*event.end);
  }

  void End(HttpReply& reply) override {
    OrderedJson choices = OrderedJson::array();
    for (size_t i = 0; i < choices_.size(); ++i) choices.push_back(ChoiceJson(i));
    const OrderedJson body = {{"id", options_.head.id},           {"object", "chat.completion"},
                              {"created", options_.head.created}, {"model", options_.head.model},
                              {"choices", std::move(choices)},    {"usage", usage_.Json()},
                              {"system_fingerprint", nullptr}};
    reply.Respond({.body = Dump(body)});
  }

  void Fail(const ApiError& error, HttpReply& reply) override { reply.Respond(error.Response()); }

 private:
  struct Choice {
    std::string text;
    std::vector<ToolCall> calls;
    std::vector<OutputToken> tokens;
    FinishReason reason = FinishReason::kStop;
    OrderedJson prompt_routing;
  };

  OrderedJson ChoiceJson(size_t index) const {
    const Choice& choice = choices_[index];
    OrderedJson message = {{"role", "assistant"},
                           {"content", choice.text},
                           {"tool_calls", nullptr},
                           {"refusal", nullptr},
                           {"prefix", false}};
    if (!choice.calls.empty()) {
      // Empty rather than null: older clients of one dialect take nothing but a string.
      if (choice.text.find_first_not_of(" \n") == std::string::npos) message["content"] = "";
      message["tool_calls"] = ToolCallsJson(choice.calls, 0);
    }
    OrderedJson json = {{"index", index},
                        {"message", std::move(message)},
                        {"logprobs", nullptr},
                        {"finish_reason", FinishReasonName(choice.reason, Called(index))}};
    if (options_.logprobs) json["logprobs"] = ChatLogprobs(*config_.tokenizer, choice.tokens);
    if (options_.routing != RoutingDetail::kNone) {
      json["routing"] = {{"tokens", AnswerRouting(choice.tokens)}};
      if (options_.routing == RoutingDetail::kAll)
        json["routing"]["prompt"] = choice.prompt_routing;
    }
    return json;
  }

  std::vector<Choice> choices_;
};

class StreamedChatAnswers : public ChatAnswers {
 public:
  StreamedChatAnswers(const ApiConfig& config, ChatAnswerOptions options)
      : ChatAnswers(config, std::move(options)), begun_(options_.n) {
    head_ = fmt::format(R"({{"id":{},"object":"chat.completion.chunk","created":{},"model":{},)",
                        Dump(options_.head.id), options_.head.created, Dump(options_.head.model));
  }

  void Begin(HttpReply& reply) override { StartEvents(reply); }

  void Event(size_t index, RequestEvent event, HttpReply& reply) override {
    if (!begun_[index]) BeginChoice(index, reply);
    const ChoicePiece piece = Take(index, event);
    const bool has_detail =
        !event.tokens.empty() && (options_.logprobs || options_.routing != RoutingDetail::kNone);
    if (!piece.text.empty() || (has_detail && piece.calls.empty())) {
      WriteChunk(index, fmt::format(R"({{"content":{}}})", Dump(piece.text)), event.tokens, reply);
      event.tokens.clear();
    }
    if (!piece.calls.empty()) {
      const size_t first = num_calls_[index] - piece.calls.size();
      const std::string calls = Dump(ToolCallsJson(piece.calls, first));
      WriteChunk(index, fmt::format(R"({{"tool_calls":{}}})", calls), event.tokens, reply);
    }
    if (event.end) EndChoice(index, *event.end, reply);
  }

  void End(HttpReply& reply) override {
    if (options_.include_usage)
      WriteEvent(reply, fmt::format(R"({}"choices":[],"usage":{}}})", head_, Dump(usage_.Json())));
    FinishEvents(reply);
  }

  void Fail(const ApiError& error, HttpReply& reply) override {
    WriteEvent(reply, error.Body());
    FinishEvents(reply);
  }

 private:
  void BeginChoice(size_t index, HttpReply& reply) {
    begun_[index] = true;
    WriteChunk(index, R"({"role":"assistant","content":""})", {}, reply);
    if (!options_.prefix.empty())
      WriteChunk(index, fmt::format(R"({{"content":{}}})", Dump(options_.prefix)), {}, reply);
  }

  // Usage goes with the last chunk of all unless the caller wants it apart.
  void EndChoice(size_t index, const RequestEnd& end, HttpReply& reply) {
    AddUsage(end);
    std::string extra;
    if (options_.routing == RoutingDetail::kAll)
      extra = fmt::format(R"(,"routing":{{"prompt":{}}})", Dump(PromptRouting(end)));
    std::string usage = options_.include_usage ? R"(,"usage":null)" : "";
    if (!options_.include_usage && num_ended_ == options_.n)
      usage = fmt::format(R"(,"usage":{})", Dump(usage_.Json()));
    WriteEvent(
        reply,
        fmt::format(
            R"({}"choices":[{{"index":{},"delta":{{"content":""}},"logprobs":null,"finish_reason":"{}"{}}}]{}}})",
            head_, index, FinishReasonName(end.reason, Called(index)), extra, usage));
  }

  void WriteChunk(size_t index, const std::string& delta, std::span<const OutputToken> tokens,
                  HttpReply& reply) {
    std::string logprobs = "null";
    if (options_.logprobs && !tokens.empty())
      logprobs = Dump(ChatLogprobs(*config_.tokenizer, tokens));
    std::string extra;
    if (options_.routing != RoutingDetail::kNone && !tokens.empty())
      extra = fmt::format(R"(,"routing":{{"tokens":{}}})", Dump(AnswerRouting(tokens)));
    WriteEvent(
        reply,
        fmt::format(
            R"({}"choices":[{{"index":{},"delta":{},"logprobs":{},"finish_reason":null{}}}]{}}})",
            head_, index, delta, logprobs, extra,
            options_.include_usage ? R"(,"usage":null)" : ""));
  }

  std::string head_;  // of every chunk, up to its choices
  std::vector<bool> begun_;
};

}  // namespace

std::unique_ptr<AnswerWriter> MakeChatAnswers(const ApiConfig& config, ChatAnswerOptions options) {
  if (options.stream) return std::make_unique<StreamedChatAnswers>(config, std::move(options));
  return std::make_unique<WholeChatAnswers>(config, std::move(options));
}

}  // namespace cadre
