#include "server/completion_request.h"

#include <algorithm>

#include "base/log.h"

namespace cadre {
namespace {

constexpr size_t kMaxPrompts = 2048;

class PromptReader {
 public:
  PromptReader(const char* param, const ApiConfig& config, bool may_be_empty)
      : param_(param), config_(config), may_be_empty_(may_be_empty) {}

  PromptList Read(const OrderedJson& input) {
    if (input.is_string()) {
      AddText(input.get_ref<const std::string&>(), param_);
    } else if (!input.is_array()) {
      throw InvalidField(param_, "is " + Shown(input) + " but must be a string or a list",
                         "string_type");
    } else if (!input.empty() && input[0].is_number()) {
      AddIds(input, param_);
    } else {
      ReadList(input);
    }
    return std::move(list_);
  }

 private:
  void ReadList(const OrderedJson& input) {
    if (input.empty()) throw InvalidField(param_, "is an empty list", "too_short");
    if (input.size() > kMaxPrompts) {
      throw InvalidField(param_,
                         fmt::format("has {} entries but may have {}", input.size(), kMaxPrompts),
                         "too_long");
    }
    for (size_t i = 0; i < input.size(); ++i) {
      const std::string path = fmt::format("{}.{}", param_, i);
      if (input[i].is_string()) {
        AddText(input[i].get_ref<const std::string&>(), path);
      } else if (input[i].is_array()) {
        AddIds(input[i], path);
      } else {
        throw InvalidField(path,
                           "is " + Shown(input[i]) + " but must be a string or a list of token ids",
                           "string_type");
      }
    }
  }

  void AddText(const std::string& text, const std::string& path) {
    if (text.empty() && !may_be_empty_)
      throw InvalidField(path, "is empty but must have text", "string_too_short");
    const Tokenizer& tokenizer = *config_.tokenizer;
    std::vector<int32_t> ids;
    if (tokenizer.vocabulary().add_bos && tokenizer.bos_id() >= 0)
      ids.push_back(tokenizer.bos_id());
    const std::vector<int32_t> encoded = tokenizer.Encode(text);
    ids.insert(ids.end(), encoded.begin(), encoded.end());
    if (ids.empty()) throw InvalidField(path, "is empty but must have text", "string_too_short");
    CheckPromptFits(ids.size(), config_.context_length, param_);
    list_.ids.push_back(std::move(ids));
    list_.texts.push_back(text);
  }

  void AddIds(const OrderedJson& values, const std::string& path) {
    if (values.empty()) throw InvalidField(path, "is an empty list", "too_short");
    CheckPromptFits(values.size(), config_.context_length, param_);
    const int32_t vocab_size = config_.tokenizer->vocab_size();
    std::vector<int32_t> ids;
    for (const OrderedJson& value : values) {
      const bool is_id = value.is_number_integer() && value >= 0 && value < vocab_size;
      if (!is_id) {
        throw InvalidField(
            fmt::format("{}.{}", path, ids.size()),
            fmt::format("is {} but must be a token id from 0 to {}", Shown(value), vocab_size - 1),
            "int_type");
      }
      ids.push_back(value.get<int32_t>());
    }
    list_.texts.push_back(config_.tokenizer->Decode(ids));
    list_.ids.push_back(std::move(ids));
  }

  const char* param_;
  const ApiConfig& config_;
  bool may_be_empty_;
  PromptList list_;
};

void ParseBestOf(Fields& fields, CompletionRequest& request) {
  const std::optional<int64_t> best_of = fields.Integer("best_of", 0, 128);
  request.best_of = std::max(best_of.value_or(request.options.n), request.options.n);
  if (best_of && *best_of > 0 && *best_of < request.options.n) {
    fields.Fail("best_of",
                fmt::format("is {} but must be at least n, {}", *best_of, request.options.n),
                "greater_than_equal");
  }
  if (request.best_of > request.options.n && request.options.stream)
    fields.Fail("best_of", "cannot be had in a stream: the best is known at the end",
                "value_error");
}

}  // namespace

PromptList ParsePrompts(const OrderedJson& input, const char* param, const ApiConfig& config,
                        bool may_be_empty) {
  return PromptReader(param, config, may_be_empty).Read(input);
}

CompletionRequest ParseCompletionRequest(const OrderedJson& body, const ApiConfig& config) {
  Fields fields(body);
  CompletionRequest request;
  request.options = ParseAnswerOptions(fields, config, {.temperature = 1});
  if (!request.options.max_tokens) request.options.max_tokens = 16;
  ParseBestOf(fields, request);
  request.echo = fields.Bool("echo").value_or(false);
  request.top_logprobs = static_cast<int>(fields.Integer("logprobs", 0, 20).value_or(-1));
  request.format = ParseAnswerFormat(fields);
  if (!fields.String("suffix").value_or("").empty()) {
    throw ApiError(400, "suffix: this model cannot fill in the middle of a raw text", "suffix",
                   "suffix_not_supported");
  }
  const OrderedJson empty = "";
  const OrderedJson* prompt = fields.Find("prompt");
  PromptList list = ParsePrompts(prompt == nullptr ? empty : *prompt, "prompt", config, true);
  request.prompts = std::move(list.ids);
  request.prompt_texts = std::move(list.texts);
  const auto answers = static_cast<int64_t>(request.prompts.size()) * request.best_of;
  if (answers > 4096)
    fields.Fail("prompt", fmt::format("asks for {} answers but may for 4096", answers), "too_long");
  for (const std::string& name : fields.Unknown())
    log::debug("the request's field '{}' is ignored", Printable(name));
  return request;
}

}  // namespace cadre
