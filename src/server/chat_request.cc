#include "server/chat_request.h"

#include "base/log.h"
#include "server/chat_messages.h"

namespace cadre {
namespace {

void LogUnknown(const Fields& fields) {
  for (const std::string& name : fields.Unknown())
    log::debug("the request's field '{}' is ignored", Printable(name));
}

int TopLogprobs(Fields& fields) {
  const bool wanted = fields.Bool("logprobs").value_or(false);
  const std::optional<int64_t> count = fields.Integer("top_logprobs", 0, 20);
  if (count && !wanted && *count > 0)
    fields.Fail("top_logprobs", "is given but logprobs is not true", "value_error");
  return wanted ? static_cast<int>(count.value_or(0)) : -1;
}

void CheckTools(const ChatRequest& request, const ApiConfig& config) {
  if (request.tools.choice == ToolChoice::kNone) return;
  if (!config.HasTools()) {
    throw ApiError(
        400,
        "tools: this model's chat format has no tools; leave them out, set tool_choice "
        "to none, or use a model with control tokens for tools, as Mixtral-8x22B-Instruct",
        "tools", "tools_not_supported");
  }
  if (request.format.kind != AnswerFormat::Kind::kText) {
    throw ApiError(
        400,
        "response_format: beside tools the text cannot be held to a format; leave one of "
        "them out or set tool_choice to none",
        "response_format");
  }
  if (!request.prefix.empty())
    throw ApiError(400, "tools: an answer that continues a prefix cannot call any", "tools");
}

// The formats leave out the spaces at the end of what the assistant said (v2, v3).
std::string Prefix(const Message& last, const ApiConfig& config) {
  if (last.role != Role::kAssistant || !last.prefix) return "";
  if (*config.chat_version == ChatVersion::kV1) return last.content;
  return last.content.substr(0, last.content.find_last_not_of(' ') + 1);
}

}  // namespace

ChatRequest ParseChatRequest(const OrderedJson& body, const ApiConfig& config) {
  Fields fields(body);
  ChatRequest request;
  request.options = ParseAnswerOptions(fields, config, {.temperature = config.default_temperature});
  if (!config.chat_version) {
    throw ApiError(400,
                   "this is a base model, which was not trained on conversations: use "
                   "/v1/completions",
                   "model", "chat_not_supported");
  }
  if (!request.options.max_tokens) request.options.max_tokens = config.default_max_tokens;
  request.messages = ParseMessages(fields.Required("messages"));
  request.prefix = Prefix(request.messages.back(), config);
  request.tools = ParseToolUse(fields);
  request.format = ParseAnswerFormat(fields);
  request.safe_prompt = fields.Bool("safe_prompt").value_or(false);
  request.top_logprobs = TopLogprobs(fields);
  CheckTools(request, config);
  if (request.format.kind != AnswerFormat::Kind::kText && !request.prefix.empty()) {
    throw ApiError(400, "response_format: an answer that continues a prefix cannot be held to it",
                   "response_format");
  }
  LogUnknown(fields);
  return request;
}

std::vector<int32_t> ChatPrompt(const ChatRequest& request, const ApiConfig& config) {
  std::vector<ToolDefinition> tools;
  if (request.tools.choice != ToolChoice::kNone) tools = request.tools.tools;
  std::vector<int32_t> ids;
  try {
    ids = EncodeChat(*config.tokenizer, *config.chat_version, request.messages, tools,
                     {.safe_prompt = request.safe_prompt});
  } catch (const Error& error) {
    throw ApiError(400, error.what(), "messages");
  }
  CheckPromptFits(ids.size(), config.context_length, "messages");
  return ids;
}

FimRequest ParseFimRequest(const OrderedJson& body, const ApiConfig& config) {
  Fields fields(body);
  FimRequest request;
  request.options = ParseAnswerOptions(fields, config, {.temperature = config.default_temperature});
  request.prompt = fields.RequiredString("prompt");
  request.suffix = fields.String("suffix").value_or("");
  if (!config.HasFim()) {
    throw ApiError(400,
                   "this model has no control tokens to fill in the middle: use /v1/completions",
                   "model", "fim_not_supported");
  }
  LogUnknown(fields);
  return request;
}

// BOS, [SUFFIX], the suffix as if in the middle of a text, [PREFIX], the prompt.
std::vector<int32_t> FimPrompt(const FimRequest& request, const ApiConfig& config) {
  const Tokenizer& tokenizer = *config.tokenizer;
  std::vector<int32_t> ids = {tokenizer.bos_id(), *config.ControlId("[SUFFIX]")};
  const auto suffix = tokenizer.Encode(request.suffix, DummyPrefix::kNone);
  ids.insert(ids.end(), suffix.begin(), suffix.end());
  ids.push_back(*config.ControlId("[PREFIX]"));
  const auto prompt = tokenizer.Encode(request.prompt);
  ids.insert(ids.end(), prompt.begin(), prompt.end());
  CheckPromptFits(ids.size(), config.context_length, "prompt");
  return ids;
}

}  // namespace cadre
