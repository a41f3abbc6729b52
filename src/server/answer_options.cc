#include "server/answer_options.h"

#include <algorithm>
#include <limits>
#include <random>
#include <set>

#include "base/random.h"

namespace cadre {
namespace {

constexpr int64_t kMaxTokens = std::numeric_limits<int32_t>::max();
constexpr size_t kMaxStops = 64;
constexpr size_t kMaxStopBytes = 1024;

void AddStop(const OrderedJson& value, const std::string& path, std::vector<std::string>& stops) {
  if (!value.is_string())
    throw InvalidField(path, "is " + Shown(value) + " but must be a string", "string_type");
  const auto& stop = value.get_ref<const std::string&>();
  if (stop.size() > kMaxStopBytes) {
    throw InvalidField(path,
                       fmt::format("has {} bytes but may have {}", stop.size(), kMaxStopBytes),
                       "string_too_long");
  }
  if (!stop.empty()) stops.push_back(stop);
}

std::vector<std::string> Stops(Fields& fields) {
  std::vector<std::string> stops;
  const OrderedJson* value = fields.Find("stop");
  if (value == nullptr) return stops;
  if (!value->is_array()) {
    AddStop(*value, fields.PathOf("stop"), stops);
    return stops;
  }
  if (value->size() > kMaxStops) {
    fields.Fail("stop", fmt::format("has {} strings but may have {}", value->size(), kMaxStops),
                "too_long");
  }
  for (size_t i = 0; i < value->size(); ++i)
    AddStop((*value)[i], fmt::format("{}.{}", fields.PathOf("stop"), i), stops);
  return stops;
}

std::optional<int32_t> TokenId(const std::string& text, int32_t vocab_size) {
  if (text.empty() || text.size() > 9) return std::nullopt;
  if (!std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; })) return std::nullopt;
  const int id = std::stoi(text);
  return id < vocab_size ? std::optional<int32_t>(id) : std::nullopt;
}

std::vector<std::pair<int32_t, float>> LogitBias(Fields& fields, int32_t vocab_size) {
  std::vector<std::pair<int32_t, float>> biases;
  const OrderedJson* value = fields.Find("logit_bias");
  if (value == nullptr) return biases;
  if (!value->is_object())
    fields.Fail("logit_bias", "is " + Shown(*value) + " but must be an object", "dict_type");
  std::set<int32_t> seen;
  for (const auto& [key, bias] : value->items()) {
    const std::string path = fields.PathOf("logit_bias") + "." + Printable(key);
    const std::optional<int32_t> id = TokenId(key, vocab_size);
    if (!id || !seen.insert(*id).second) {
      throw InvalidField(path, fmt::format("is no token: ids go from 0 to {}", vocab_size - 1),
                         "int_parsing");
    }
    if (!bias.is_number() || !(bias.get<double>() >= -100 && bias.get<double>() <= 100))
      throw InvalidField(path, "is " + Shown(bias) + " but must be from -100 to 100", "float_type");
    biases.emplace_back(*id, bias.get<float>());
  }
  return biases;
}

uint64_t RandomSeed() {
  std::random_device device;
  return uint64_t{device()} << 32 | device();
}

uint64_t Seed(Fields& fields) {
  constexpr int64_t kMin = std::numeric_limits<int64_t>::min();
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  const std::optional<int64_t> mistral = fields.Integer("random_seed", 0, kMax);
  const std::optional<int64_t> seed = fields.Integer("seed", kMin, kMax);
  if (seed) return static_cast<uint64_t>(*seed);
  return mistral ? static_cast<uint64_t>(*mistral) : RandomSeed();
}

SamplerConfig ParseSampler(Fields& fields, const ApiConfig& config,
                           const AnswerDefaults& defaults) {
  SamplerConfig sampler;
  sampler.temperature = fields.Number("temperature", 0, 2).value_or(defaults.temperature);
  sampler.top_p = fields.Number("top_p", 0, 1).value_or(1);
  sampler.min_p = fields.Number("min_p", 0, 1).value_or(0);
  sampler.top_k = std::max<int64_t>(0, fields.Integer("top_k", -1, kMaxTokens).value_or(0));
  sampler.presence_penalty = fields.Number("presence_penalty", -2, 2).value_or(0);
  sampler.frequency_penalty = fields.Number("frequency_penalty", -2, 2).value_or(0);
  sampler.repeat_penalty = fields.Number("repetition_penalty", 0.01, 10).value_or(1);
  sampler.logit_bias = LogitBias(fields, config.tokenizer->vocab_size());
  sampler.seed = Seed(fields);
  return sampler;
}

void ParseStream(Fields& fields, AnswerOptions& options) {
  options.stream = fields.Bool("stream").value_or(false);
  const OrderedJson* stream_options = fields.Find("stream_options");
  if (stream_options == nullptr) return;
  Fields inner(*stream_options, fields.PathOf("stream_options"));
  options.include_usage = inner.Bool("include_usage").value_or(false) && options.stream;
  inner.Bool("include_obfuscation");  // there is nothing to hide from on the way
}

void ParseRouting(Fields& fields, const ApiConfig& config, AnswerOptions& options) {
  const int64_t num_experts = config.model->router.num_experts;
  options.experts_per_token =
      static_cast<int>(fields.Integer("experts_per_token", 1, num_experts).value_or(0));
  options.min_expert_prob = static_cast<float>(fields.Number("min_expert_prob", 0, 1).value_or(0));
  const OrderedJson* routing = fields.Find("routing");
  if (routing == nullptr) return;
  options.prompt_routing = *routing == "all";
  if (!options.prompt_routing && !routing->is_boolean())
    fields.Fail("routing", "is " + Shown(*routing) + " but must be true, false or \"all\"",
                "bool_type");
  options.routing = options.prompt_routing || routing->get<bool>();
}

}  // namespace

AnswerOptions ParseAnswerOptions(Fields& fields, const ApiConfig& config,
                                 const AnswerDefaults& defaults) {
  AnswerOptions options;
  options.model = fields.RequiredString("model");
  config.CheckModel(options.model);
  options.sampler = ParseSampler(fields, config, defaults);
  const auto max_tokens = fields.Integer("max_tokens", 0, kMaxTokens);
  const auto max_completion_tokens = fields.Integer("max_completion_tokens", 0, kMaxTokens);
  options.max_tokens = max_completion_tokens ? max_completion_tokens : max_tokens;
  options.min_tokens = fields.Integer("min_tokens", 0, kMaxTokens).value_or(0);
  if (options.max_tokens && options.min_tokens > *options.max_tokens) {
    fields.Fail("min_tokens",
                fmt::format("is {} but must be at most max_tokens, {}", options.min_tokens,
                            *options.max_tokens),
                "less_than_equal");
  }
  options.ignore_eos = fields.Bool("ignore_eos").value_or(false);
  options.n = fields.Integer("n", 1, 128).value_or(1);
  options.stops = Stops(fields);
  ParseStream(fields, options);
  ParseRouting(fields, config, options);
  return options;
}

Request MakeRequest(const AnswerOptions& options, const ApiConfig& config,
                    std::vector<int32_t> prompt_ids, int64_t index) {
  Request request;
  const auto room = config.context_length - static_cast<int64_t>(prompt_ids.size());
  request.prompt_ids = std::move(prompt_ids);
  request.sampler = options.sampler;
  if (index > 0) {
    const auto words = Philox(options.sampler.seed, static_cast<uint64_t>(index), 0);
    request.sampler.seed = uint64_t{words[1]} << 32 | words[0];
  }
  request.max_tokens =
      std::clamp<int64_t>(options.max_tokens.value_or(room), 0, std::max<int64_t>(room, 0));
  request.min_tokens = std::min(options.min_tokens, request.max_tokens);
  request.ignore_eos = options.ignore_eos;
  request.stops = options.stops;
  request.experts_per_token = options.experts_per_token;
  request.min_expert_prob = options.min_expert_prob;
  request.routing = options.routing;
  return request;
}

void CheckPromptFits(size_t prompt_tokens, int64_t context_length, const char* param) {
  if (prompt_tokens <= static_cast<size_t>(context_length)) return;
  throw ApiError(400,
                 fmt::format("{} has {} tokens but the context of this model holds {}", param,
                             prompt_tokens, context_length),
                 param, "context_length_exceeded");
}

}  // namespace cadre
