#include "align/message_json.h"

#include <algorithm>
#include <map>
#include <string_view>

#include "base/error.h"

namespace cadre {
namespace {

constexpr size_t kMaxMessages = 65536;

std::string StringOf(const OrderedJson& value, const std::string& name) {
  if (!value.is_string()) throw Error("{} is {} but must be a string", name, ShownJson(value));
  return value.get<std::string>();
}

Role ParseRole(const OrderedJson& message, const std::string& name) {
  static const std::map<std::string, Role, std::less<>> kRoles = {
      {"system", Role::kSystem}, {"user", Role::kUser},           {"human", Role::kUser},
      {"tool", Role::kTool},     {"assistant", Role::kAssistant}, {"gpt", Role::kAssistant}};
  const OrderedJson* role = OneOf(message, {"role", "from"}, name);
  if (role == nullptr) throw Error("{} has no \"role\"", name);
  const std::string text = StringOf(*role, name + ".role");
  const auto found = kRoles.find(text);
  if (found == kRoles.end()) {
    throw Error("{}.role is '{}' but must be system, user, assistant or tool", name,
                Printable(text));
  }
  return found->second;
}

// A string, or parts of text with a blank line between them.
std::string ParseContent(const OrderedJson& message, const std::string& name) {
  const OrderedJson* content = OneOf(message, {"content", "text", "value"}, name);
  if (content == nullptr) return "";
  if (!content->is_array()) return StringOf(*content, name + ".content");
  std::string text;
  for (const OrderedJson& part : *content) {
    const OrderedJson* piece =
        part.is_object() ? OneOf(part, {"text"}, name + ".content") : nullptr;
    if (piece == nullptr)
      throw Error("{}.content has a part {} but only text can be learnt", name, ShownJson(part));
    if (!text.empty()) text += "\n\n";
    text += StringOf(*piece, name + ".content");
  }
  return text;
}

bool ParseWeight(const OrderedJson& message, const std::string& name) {
  const OrderedJson* weight = OneOf(message, {"weight"}, name);
  if (weight == nullptr) return true;
  if (!weight->is_number() || (*weight != 0 && *weight != 1))
    throw Error("{}.weight is {} but must be 0 or 1", name, ShownJson(*weight));
  return *weight == 1;
}

ToolCall ParseCall(const OrderedJson& call, const std::string& name) {
  if (!call.is_object()) throw Error("{} is {} but must be an object", name, ShownJson(call));
  const OrderedJson* function = OneOf(call, {"function"}, name);
  const OrderedJson& said = function != nullptr && function->is_object() ? *function : call;
  const OrderedJson* function_name = OneOf(said, {"name"}, name);
  if (function_name == nullptr) throw Error("{} has no function name", name);
  ToolCall parsed;
  parsed.name = StringOf(*function_name, name + ".name");
  if (const OrderedJson* id = OneOf(call, {"id"}, name)) parsed.id = StringOf(*id, name + ".id");
  const OrderedJson* arguments = OneOf(said, {"arguments"}, name);
  parsed.arguments = arguments == nullptr     ? "{}"
                     : arguments->is_string() ? arguments->get<std::string>()
                                              : arguments->dump();
  return parsed;
}

Message ParseMessage(const OrderedJson& json, const std::string& name) {
  if (!json.is_object()) throw Error("{} is {} but must be an object", name, ShownJson(json));
  Message message{.role = ParseRole(json, name), .content = ParseContent(json, name)};
  message.trained = ParseWeight(json, name);
  if (const OrderedJson* calls = OneOf(json, {"tool_calls"}, name)) {
    if (!calls->is_array())
      throw Error("{}.tool_calls is {} but must be a list", name, ShownJson(*calls));
    for (size_t i = 0; i < calls->size(); ++i)
      message.tool_calls.push_back(
          ParseCall((*calls)[i], fmt::format("{}.tool_calls[{}]", name, i)));
    if (!message.tool_calls.empty()) message.content.clear();
  }
  if (message.role == Role::kTool) {
    if (const OrderedJson* id = OneOf(json, {"tool_call_id"}, name))
      message.tool_call_id = StringOf(*id, name + ".tool_call_id");
    if (const OrderedJson* function = OneOf(json, {"name"}, name))
      message.name = StringOf(*function, name + ".name");
  }
  return message;
}

constexpr std::string_view kHuman = "\n\nHuman:";
constexpr std::string_view kAssistant = "\n\nAssistant:";

// Where the next turn begins, or the end: one walk over the text, whatever stands in it.
size_t FindMark(std::string_view text) {
  for (size_t at = text.find("\n\n"); at != text.npos; at = text.find("\n\n", at + 1)) {
    const std::string_view rest = text.substr(at);
    if (rest.starts_with(kHuman) || rest.starts_with(kAssistant)) return at;
  }
  return text.size();
}

std::string_view Trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const size_t begin = text.find_first_not_of(kSpace);
  if (begin == text.npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

}  // namespace

const OrderedJson* OneOf(const OrderedJson& object, std::initializer_list<const char*> keys,
                         const std::string& name) {
  const OrderedJson* one = nullptr;
  const char* its_key = nullptr;
  for (const char* key : keys) {
    const auto found = object.find(key);
    if (found == object.end() || found->is_null()) continue;
    if (one != nullptr) throw Error("{} has both \"{}\" and \"{}\"", name, its_key, key);
    one = &*found;
    its_key = key;
  }
  return one;
}

std::string ShownJson(const OrderedJson& value) {
  return Printable(value.dump(-1, ' ', true, OrderedJson::error_handler_t::replace), 60);
}

std::vector<Message> ParseDataMessages(const OrderedJson& list, const std::string& name) {
  if (!list.is_array()) throw Error("{} is {} but must be a list", name, ShownJson(list));
  if (list.empty()) throw Error("{} is empty but must have at least one message", name);
  if (list.size() > kMaxMessages)
    throw Error("{} has {} messages but may have {}", name, list.size(), kMaxMessages);
  std::vector<Message> messages;
  for (size_t i = 0; i < list.size(); ++i)
    messages.push_back(ParseMessage(list[i], fmt::format("{}[{}]", name, i)));
  NameResults(messages);
  return messages;
}

std::vector<ToolDefinition> ParseDataTools(const OrderedJson& list, const std::string& name) {
  if (!list.is_array()) throw Error("{} is {} but must be a list", name, ShownJson(list));
  std::vector<ToolDefinition> tools;
  for (size_t i = 0; i < list.size(); ++i) {
    const std::string where = fmt::format("{}[{}]", name, i);
    if (!list[i].is_object())
      throw Error("{} is {} but must be an object", where, ShownJson(list[i]));
    const OrderedJson* function = OneOf(list[i], {"function"}, where);
    const OrderedJson& said = function != nullptr && function->is_object() ? *function : list[i];
    const OrderedJson* tool_name = OneOf(said, {"name"}, where);
    if (tool_name == nullptr) throw Error("{} has no function name", where);
    ToolDefinition tool;
    tool.name = StringOf(*tool_name, where + ".name");
    if (const OrderedJson* text = OneOf(said, {"description"}, where))
      tool.description = StringOf(*text, where + ".description");
    if (const OrderedJson* schema = OneOf(said, {"parameters"}, where)) tool.parameters = *schema;
    tools.push_back(std::move(tool));
  }
  return tools;
}

std::vector<Message> ParseTranscript(std::string_view text) {
  std::vector<Message> messages;
  if (!text.starts_with(kHuman)) return messages;
  while (!text.empty()) {
    const bool human = text.starts_with(kHuman);
    text.remove_prefix(human ? kHuman.size() : kAssistant.size());
    const size_t end = FindMark(text);
    messages.push_back({.role = human ? Role::kUser : Role::kAssistant,
                        .content = std::string(Trimmed(text.substr(0, end)))});
    text.remove_prefix(end);
  }
  if (messages.back().role == Role::kAssistant && messages.back().content.empty())
    messages.pop_back();
  return messages;
}

}  // namespace cadre
