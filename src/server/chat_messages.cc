#include "server/chat_messages.h"

#include <map>
#include <string_view>

#include "base/log.h"
#include "server/call_id.h"
#include "server/fields.h"

namespace cadre {
namespace {

constexpr size_t kMaxMessages = 65536;

Role ParseRole(Fields& fields) {
  static const std::map<std::string_view, Role> kRoles = {{"system", Role::kSystem},
                                                          {"developer", Role::kSystem},
                                                          {"user", Role::kUser},
                                                          {"assistant", Role::kAssistant},
                                                          {"tool", Role::kTool}};
  const std::string role = fields.RequiredString("role");
  const auto found = kRoles.find(role);
  if (found == kRoles.end()) {
    fields.Fail("role", "is '" + Printable(role) + "' but must be system, user, assistant or tool",
                "literal_error");
  }
  return found->second;
}

std::string PartText(const OrderedJson& part, const std::string& path) {
  Fields fields(part, path);
  const std::string type = fields.String("type").value_or("text");
  if (type == "refusal") return fields.RequiredString("refusal");
  if (type != "text") {
    fields.Fail("type", "is '" + Printable(type) + "' but this model reads text only",
                "literal_error");
  }
  return fields.RequiredString("text");
}

// A string, or parts of text: between them a blank line, but in results of tools nothing.
std::string Content(Fields& fields, Role role) {
  const OrderedJson* content = fields.Find("content");
  if (content == nullptr) {
    if (role == Role::kSystem) fields.Fail("content", "is missing", "missing");
    return "";
  }
  if (content->is_string()) return content->get<std::string>();
  if (!content->is_array()) {
    fields.Fail("content", "is " + Shown(*content) + " but must be a string or a list of parts",
                "string_type");
  }
  std::string text;
  for (size_t i = 0; i < content->size(); ++i) {
    const std::string part =
        PartText((*content)[i], fmt::format("{}.{}", fields.PathOf("content"), i));
    if (role != Role::kTool && !text.empty() && !part.empty()) text += "\n\n";
    text += part;
  }
  return text;
}

// JSON text, whether the client sent that or the object itself.
std::string Arguments(Fields& function) {
  const OrderedJson* arguments = function.Find("arguments");
  if (arguments == nullptr) return "{}";
  if (arguments->is_string()) return arguments->get<std::string>();
  if (!arguments->is_object()) {
    function.Fail("arguments", "is " + Shown(*arguments) + " but must be a string or an object",
                  "string_type");
  }
  return arguments->dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
}

ToolCall ParseToolCall(const OrderedJson& json, const std::string& path) {
  Fields fields(json, path);
  const std::string type = fields.String("type").value_or("function");
  if (type != "function") {
    fields.Fail("type", "is '" + Printable(type) + "' but must be function", "literal_error");
  }
  fields.Find("index");
  ToolCall call;
  call.id = MappedCallId(fields.String("id").value_or(""));
  Fields function(fields.Required("function"), fields.PathOf("function"));
  call.name = function.RequiredString("name");
  call.arguments = Arguments(function);
  return call;
}

std::vector<ToolCall> ToolCalls(Fields& fields) {
  std::vector<ToolCall> calls;
  const OrderedJson* list = fields.Find("tool_calls");
  if (list == nullptr) return calls;
  if (!list->is_array())
    fields.Fail("tool_calls", "is " + Shown(*list) + " but must be a list", "list_type");
  for (size_t i = 0; i < list->size(); ++i)
    calls.push_back(
        ParseToolCall((*list)[i], fmt::format("{}.{}", fields.PathOf("tool_calls"), i)));
  return calls;
}

Message ParseMessage(const OrderedJson& json, const std::string& path) {
  Fields fields(json, path);
  Message message{.role = ParseRole(fields), .content = {}};
  message.content = Content(fields, message.role);
  if (message.role == Role::kTool) {
    message.tool_call_id = MappedCallId(fields.String("tool_call_id").value_or(""));
    message.name = fields.String("name").value_or("");
    return message;
  }
  fields.Find("name");  // of a participant: the formats have no place for it
  if (message.role != Role::kAssistant) return message;
  message.tool_calls = ToolCalls(fields);
  message.prefix = fields.Bool("prefix").value_or(false);
  if (fields.Find("function_call") != nullptr) {
    fields.Fail("function_call", "is given but calls must be in tool_calls", "extra_forbidden");
  }
  if (!message.tool_calls.empty() && !message.content.empty()) {
    log::debug("{}: the text beside tool calls is left out", path);
    message.content.clear();
  }
  return message;
}

}  // namespace

std::vector<Message> ParseMessages(const OrderedJson& messages) {
  if (!messages.is_array())
    throw InvalidField("messages", "is " + Shown(messages) + " but must be a list", "list_type");
  if (messages.empty())
    throw InvalidField("messages", "is empty but must have at least one message", "too_short");
  if (messages.size() > kMaxMessages) {
    throw InvalidField("messages",
                       fmt::format("has {} entries but may have {}", messages.size(), kMaxMessages),
                       "too_long");
  }
  std::vector<Message> parsed;
  for (size_t i = 0; i < messages.size(); ++i)
    parsed.push_back(ParseMessage(messages[i], fmt::format("messages.{}", i)));
  NameResults(parsed);
  return parsed;
}

}  // namespace cadre
