#include "server/answer_json.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "base/error.h"
#include "text/utf8.h"

namespace cadre {
namespace {

// JSON has no infinity; the dialect's own word for "very unlikely".
constexpr double kVeryUnlikely = -9999.0;

double Clamped(float logprob) {
  return std::isfinite(logprob) ? std::max<double>(logprob, kVeryUnlikely) : kVeryUnlikely;
}

std::string TokenText(const Tokenizer& tokenizer, int32_t id) {
  if (tokenizer.IsControl(id)) return tokenizer.PieceText(id);
  return ReplaceInvalidUtf8(tokenizer.PieceBytes(id));
}

OrderedJson Bytes(const Tokenizer& tokenizer, int32_t id) {
  OrderedJson bytes = OrderedJson::array();
  for (const char c : tokenizer.PieceBytes(id)) bytes.push_back(static_cast<unsigned char>(c));
  return bytes;
}

OrderedJson ChatLogprob(const Tokenizer& tokenizer, int32_t id, float logprob) {
  return {{"token", TokenText(tokenizer, id)},
          {"logprob", Clamped(logprob)},
          {"bytes", Bytes(tokenizer, id)}};
}

// Four digits are what a picture of it needs.
double Rounded(double value) { return std::round(value * 1e4) / 1e4; }

int64_t NumCharacters(std::string_view text) {
  return std::ranges::count_if(text, [](char c) { return (c & 0xC0) != 0x80; });
}

OrderedJson RoutingToken(const Tokenizer& tokenizer, const OutputToken& token, size_t num_layers) {
  const TokenRouting& routing = token.routing;
  OrderedJson experts = OrderedJson::array();
  OrderedJson gates = OrderedJson::array();
  OrderedJson entropy = OrderedJson::array();
  const size_t k = num_layers == 0 ? 0 : routing.experts.size() / num_layers;
  for (size_t layer = 0; k > 0 && layer < num_layers; ++layer) {
    OrderedJson used = OrderedJson::array();
    OrderedJson weights = OrderedJson::array();
    for (size_t i = layer * k; i < (layer + 1) * k; ++i) {
      if (routing.experts[i] < 0) continue;
      used.push_back(routing.experts[i]);
      weights.push_back(i < routing.gates.size() ? Rounded(routing.gates[i]) : 0.0);
    }
    experts.push_back(std::move(used));
    gates.push_back(std::move(weights));
    if (layer < routing.entropy.size()) entropy.push_back(Rounded(routing.entropy[layer]));
  }
  return {{"id", token.id},
          {"text", TokenText(tokenizer, token.id)},
          {"experts", std::move(experts)},
          {"gates", std::move(gates)},
          {"entropy", std::move(entropy)}};
}

}  // namespace

std::string MakeAnswerId(const char* prefix) {
  thread_local std::mt19937_64 words{[] {
    std::random_device device;
    return uint64_t{device()} << 32 | device();
  }()};
  return fmt::format("{}{:012x}{:012x}", prefix, words() >> 16, words() >> 16);
}

void UsageSum::Add(const RequestUsage& usage, bool counts_prompt) {
  if (counts_prompt) {
    sum_.prompt_tokens += usage.prompt_tokens;
    sum_.cached_tokens += usage.cached_tokens;
  }
  sum_.generated_tokens += usage.generated_tokens;
  sum_.drafted_tokens += usage.drafted_tokens;
  sum_.accepted_tokens += usage.accepted_tokens;
  const auto run = static_cast<double>(usage.prompt_tokens - usage.cached_tokens +
                                       std::max<int64_t>(usage.generated_tokens - 1, 0));
  weighted_experts_ += run * usage.experts_per_token;
  weight_ += run;
}

OrderedJson UsageSum::Json() const {
  return {{"prompt_tokens", sum_.prompt_tokens},
          {"completion_tokens", sum_.generated_tokens},
          {"total_tokens", sum_.prompt_tokens + sum_.generated_tokens},
          {"num_cached_tokens", sum_.cached_tokens},
          {"prompt_tokens_details", {{"cached_tokens", sum_.cached_tokens}, {"audio_tokens", 0}}},
          {"completion_tokens_details",
           {{"reasoning_tokens", 0},
            {"audio_tokens", 0},
            {"accepted_prediction_tokens", sum_.accepted_tokens},
            {"rejected_prediction_tokens", sum_.drafted_tokens - sum_.accepted_tokens}}},
          {"experts_per_token", weight_ > 0 ? Rounded(weighted_experts_ / weight_) : 0.0}};
}

OrderedJson ChatLogprobs(const Tokenizer& tokenizer, std::span<const OutputToken> tokens) {
  OrderedJson content = OrderedJson::array();
  for (const OutputToken& token : tokens) {
    if (!token.logprob) continue;
    OrderedJson entry = ChatLogprob(tokenizer, token.id, *token.logprob);
    OrderedJson top = OrderedJson::array();
    for (const TokenLogprob& other : token.top_logprobs)
      top.push_back(ChatLogprob(tokenizer, other.id, other.logprob));
    entry["top_logprobs"] = std::move(top);
    content.push_back(std::move(entry));
  }
  return {{"content", std::move(content)}, {"refusal", nullptr}};
}

OrderedJson CompletionLogprobs(const Tokenizer& tokenizer, std::span<const OutputToken> tokens,
                               bool with_top, int64_t& offset) {
  OrderedJson texts = OrderedJson::array();
  OrderedJson logprobs = OrderedJson::array();
  OrderedJson tops = OrderedJson::array();
  OrderedJson offsets = OrderedJson::array();
  for (const OutputToken& token : tokens) {
    const std::string text = TokenText(tokenizer, token.id);
    texts.push_back(text);
    offsets.push_back(std::max<int64_t>(offset, 0));
    if (!tokenizer.IsControl(token.id)) offset += NumCharacters(text);
    logprobs.push_back(token.logprob ? OrderedJson(Clamped(*token.logprob)) : OrderedJson(nullptr));
    OrderedJson top = OrderedJson::object();
    for (const TokenLogprob& other : token.top_logprobs) {
      // Two byte pieces may look alike: the likelier stays.
      const std::string key = TokenText(tokenizer, other.id);
      if (!top.contains(key)) top[key] = Clamped(other.logprob);
    }
    tops.push_back(token.logprob ? std::move(top) : OrderedJson(nullptr));
  }
  OrderedJson json = {{"tokens", std::move(texts)},
                      {"token_logprobs", std::move(logprobs)},
                      {"top_logprobs", nullptr},
                      {"text_offset", std::move(offsets)}};
  if (with_top) json["top_logprobs"] = std::move(tops);
  return json;
}

OrderedJson RoutingTokens(const Tokenizer& tokenizer, std::span<const OutputToken> tokens,
                          int64_t num_layers) {
  OrderedJson list = OrderedJson::array();
  for (const OutputToken& token : tokens)
    list.push_back(RoutingToken(tokenizer, token, static_cast<size_t>(num_layers)));
  return list;
}

OrderedJson ToolCallsJson(std::span<const ToolCall> calls, size_t first) {
  OrderedJson list = OrderedJson::array();
  for (size_t i = 0; i < calls.size(); ++i) {
    list.push_back({{"id", calls[i].id},
                    {"index", first + i},
                    {"type", "function"},
                    {"function", {{"name", calls[i].name}, {"arguments", calls[i].arguments}}}});
  }
  return list;
}

std::string_view FinishReasonName(FinishReason reason, bool called) {
  if (reason == FinishReason::kStop) return called ? "tool_calls" : "stop";
  CADRE_CHECK(reason == FinishReason::kLength);
  return "length";
}

std::string Dump(const OrderedJson& json) {
  return json.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
}

}  // namespace cadre
