#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/json.h"
#include "text/chat.h"

namespace cadre {
namespace {

const char* Name(Role role) {
  switch (role) {
    case Role::kSystem:
      return "system";
    case Role::kUser:
      return "user";
    case Role::kAssistant:
      return "assistant";
    case Role::kTool:
      return "tool";
  }
  return "?";
}

bool MayFollow(Role previous, Role next) {
  switch (previous) {
    case Role::kSystem:
      return next != Role::kTool;
    case Role::kUser:
      return next != Role::kTool;
    case Role::kAssistant:
      return next != Role::kSystem;
    case Role::kTool:
      return next != Role::kSystem;
  }
  return false;
}

bool IsAlphanumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool IsFunctionName(std::string_view name) {
  return !name.empty() && name.size() <= 64 && std::ranges::all_of(name, [](char c) {
    return IsAlphanumeric(c) || c == '_' || c == '-';
  });
}

bool IsCallId(std::string_view id) {
  return id.size() == 9 && std::ranges::all_of(id, IsAlphanumeric);
}

void CheckCallId(std::string_view id, const std::string& where) {
  if (!IsCallId(id))
    throw Error("{} is '{}' but must be 9 letters or digits", where, Printable(id));
}

void CheckFunctionName(std::string_view name, const std::string& where) {
  if (!IsFunctionName(name)) {
    throw Error("{} is '{}' but must be 1 to 64 letters, digits, '_' or '-'", where,
                Printable(name));
  }
}

void CheckSchemaType(const OrderedJson& type, const std::string& where) {
  static constexpr std::array<std::string_view, 7> kTypes = {"array",  "boolean", "integer", "null",
                                                             "number", "object",  "string"};
  const bool known = type.is_string() &&
                     std::ranges::find(kTypes, type.get_ref<const std::string&>()) != kTypes.end();
  if (!known) throw Error("{}.type is no type of JSON schema draft 7", where);
}

// The keywords that say what arguments look like; others are the caller's business.
void CheckSchema(const OrderedJson& schema, const std::string& where, int depth) {
  if (schema.is_boolean()) return;
  if (!schema.is_object())
    throw Error("{} is a JSON {} but must be a schema object", where, schema.type_name());
  if (depth > 64) throw Error("{} is nested deeper than 64", where);
  for (const auto& [key, value] : schema.items()) {
    if (key == "type" && !value.is_array()) CheckSchemaType(value, where);
    if (key == "type" && value.is_array()) {
      for (const OrderedJson& type : value) CheckSchemaType(type, where);
    }
    if (key == "properties") {
      if (!value.is_object())
        throw Error("{}.properties is a JSON {} but must be an object", where, value.type_name());
      for (const auto& [name, property] : value.items())
        CheckSchema(property, where + ".properties", depth + 1);
    }
    if (key == "items" && !value.is_array()) CheckSchema(value, where + ".items", depth + 1);
    if (key == "required") {
      const bool names = value.is_array() &&
                         std::ranges::all_of(value, [](const auto& n) { return n.is_string(); });
      if (!names) throw Error("{}.required must be a list of names", where);
    }
    if (key == "enum" && !value.is_array()) throw Error("{}.enum must be a list of values", where);
  }
}

void CheckTools(ChatVersion version, std::span<const ToolDefinition> tools) {
  if (version == ChatVersion::kV1 && !tools.empty()) {
    throw Error("tools are given but chat format v1 (Mixtral-8x7B) has none");
  }
  for (size_t i = 0; i < tools.size(); ++i) {
    const std::string where = fmt::format("tools[{}]", i);
    CheckFunctionName(tools[i].name, where + ".name");
    if (!tools[i].parameters.is_object())
      throw Error("{}.parameters must be a schema object", where);
    CheckSchema(tools[i].parameters, where + ".parameters", 0);
  }
}

void CheckAssistant(ChatVersion version, const Message& message, const std::string& where) {
  if (message.content.empty() == message.tool_calls.empty()) {
    throw Error("{}: an assistant message must have either content or tool calls", where);
  }
  if (version == ChatVersion::kV1 && !message.tool_calls.empty()) {
    throw Error("{}: tool calls are given but chat format v1 (Mixtral-8x7B) has none", where);
  }
  for (const ToolCall& call : message.tool_calls) {
    CheckFunctionName(call.name, where + ": a called function's name");
    const bool has_id = !call.id.empty() && call.id != "null";
    if (version == ChatVersion::kV3 && has_id) CheckCallId(call.id, where + ": a call's id");
  }
}

void CheckMessage(ChatVersion version, const Message& message, bool is_last,
                  const std::string& where) {
  const bool is_assistant = message.role == Role::kAssistant;
  if (is_assistant) CheckAssistant(version, message, where);
  if (!is_assistant && !message.tool_calls.empty()) {
    throw Error("{}: a {} message has tool calls but only the assistant may", where,
                Name(message.role));
  }
  if (message.prefix && (!is_assistant || !is_last)) {
    throw Error("{}: prefix is only for a last assistant message", where);
  }
  if (message.role != Role::kTool) return;
  switch (version) {
    case ChatVersion::kV1:
      throw Error("{}: a tool message, but chat format v1 (Mixtral-8x7B) has none", where);
    case ChatVersion::kV2:
      return CheckFunctionName(message.name, where + ": the tool's name");
    case ChatVersion::kV3:
      return CheckCallId(message.tool_call_id, where + ": tool_call_id");
  }
}

// Every call has its result before the assistant speaks again, and no result comes without a call.
void CheckToolResults(std::span<const Message> messages, const ChatOptions& options) {
  size_t num_calls = 0;
  size_t num_results = 0;
  const auto check = [&](size_t index) {
    if (num_calls == num_results) return;
    throw Error("messages[{}]: {} tool results before it but {} tool calls", index, num_results,
                num_calls);
  };
  for (size_t i = 0; i < messages.size(); ++i) {
    if (messages[i].role == Role::kTool) ++num_results;
    if (messages[i].role != Role::kAssistant) continue;
    check(i);
    num_calls = messages[i].tool_calls.size();
    num_results = 0;
  }
  if (!options.for_training) check(messages.size());
}

}  // namespace

void ValidateChat(ChatVersion version, std::span<const Message> messages,
                  std::span<const ToolDefinition> tools, const ChatOptions& options) {
  if (messages.empty()) throw Error("messages is empty but must have at least one message");
  if (messages.size() == 1 && messages[0].role != Role::kUser &&
      messages[0].role != Role::kSystem) {
    throw Error("messages[0]: a single message is from {} but must be from user or system",
                Name(messages[0].role));
  }
  CheckTools(version, tools);
  for (size_t i = 0; i < messages.size(); ++i) {
    const std::string where = fmt::format("messages[{}]", i);
    if (i > 0 && !MayFollow(messages[i - 1].role, messages[i].role)) {
      throw Error("{}: a {} message may not follow a {} message", where, Name(messages[i].role),
                  Name(messages[i - 1].role));
    }
    CheckMessage(version, messages[i], i + 1 == messages.size(), where);
  }
  CheckToolResults(messages, options);
  const Message& last = messages.back();
  const bool continues =
      last.role == Role::kAssistant && (last.prefix || options.continue_final_message);
  const bool asks = last.role == Role::kUser || last.role == Role::kTool || messages.size() == 1;
  if (!asks && !continues && !options.for_training) {
    throw Error(
        "messages[{}]: the last message is from {} but must be from user or tool, or an "
        "assistant's prefix",
        messages.size() - 1, Name(last.role));
  }
}

}  // namespace cadre
