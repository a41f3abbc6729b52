#include "server/tokenize_endpoint.h"

#include "server/chat_messages.h"
#include "server/fields.h"
#include "server/tool_fields.h"
#include "text/utf8.h"

namespace cadre {
namespace {

void CheckModel(Fields& fields, const ApiConfig& config) {
  const std::optional<std::string> model = fields.String("model");
  if (model) config.CheckModel(*model);
}

std::vector<int32_t> OfConversation(Fields& fields, const ApiConfig& config) {
  if (!config.chat_version) {
    throw ApiError(400, "this is a base model, which was not trained on conversations", "messages",
                   "chat_not_supported");
  }
  const std::vector<Message> messages = ParseMessages(fields.Required("messages"));
  const ToolUse tools = ParseToolUse(fields);
  const bool safe_prompt = fields.Bool("safe_prompt").value_or(false);
  try {
    return EncodeChat(
        *config.tokenizer, *config.chat_version, messages,
        tools.choice == ToolChoice::kNone ? std::vector<ToolDefinition>{} : tools.tools,
        {.safe_prompt = safe_prompt});
  } catch (const Error& error) {
    throw ApiError(400, error.what(), "messages");
  }
}

std::vector<int32_t> OfText(Fields& fields, const ApiConfig& config) {
  const std::optional<std::string> prompt = fields.String("prompt");
  const std::optional<std::string> content = fields.String("content");
  if (!prompt && !content)
    fields.Fail("prompt", "is missing, and so are content and messages", "missing");
  bool add_special = prompt.has_value();
  for (const char* name : {"add_special_tokens", "add_special"})
    add_special = fields.Bool(name).value_or(add_special);
  const Tokenizer& tokenizer = *config.tokenizer;
  std::vector<int32_t> ids;
  if (add_special && tokenizer.vocabulary().add_bos && tokenizer.bos_id() >= 0)
    ids.push_back(tokenizer.bos_id());
  const std::vector<int32_t> encoded = tokenizer.Encode(prompt ? *prompt : *content);
  ids.insert(ids.end(), encoded.begin(), encoded.end());
  return ids;
}

}  // namespace

OrderedJson Tokenize(const OrderedJson& body, const ApiConfig& config) {
  Fields fields(body);
  CheckModel(fields, config);
  const bool is_chat = fields.Find("messages") != nullptr;
  const std::vector<int32_t> ids =
      is_chat ? OfConversation(fields, config) : OfText(fields, config);
  OrderedJson tokens = OrderedJson::array();
  if (fields.Bool("with_pieces").value_or(false)) {
    for (const int32_t id : ids) {
      tokens.push_back(
          {{"id", id}, {"piece", ReplaceInvalidUtf8(config.tokenizer->PieceBytes(id))}});
    }
  } else {
    tokens = ids;
  }
  return {{"tokens", std::move(tokens)},
          {"count", ids.size()},
          {"max_model_len", config.context_length}};
}

OrderedJson Detokenize(const OrderedJson& body, const ApiConfig& config) {
  Fields fields(body);
  CheckModel(fields, config);
  const OrderedJson& tokens = fields.Required("tokens");
  if (!tokens.is_array())
    fields.Fail("tokens", "is " + Shown(tokens) + " but must be a list", "list_type");
  const int32_t vocab_size = config.tokenizer->vocab_size();
  std::vector<int32_t> ids;
  for (const OrderedJson& value : tokens) {
    if (!value.is_number_integer() || value < 0 || value >= vocab_size) {
      throw InvalidField(
          fmt::format("tokens.{}", ids.size()),
          fmt::format("is {} but must be a token id from 0 to {}", Shown(value), vocab_size - 1),
          "int_type");
    }
    ids.push_back(value.get<int32_t>());
  }
  const std::string text = config.tokenizer->Decode(ids);
  return {{"prompt", text}, {"content", text}};
}

}  // namespace cadre
