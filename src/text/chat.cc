#include "text/chat.h"

#include <map>

#include "base/error.h"
#include "base/json.h"
#include "text/python_json.h"

namespace cadre {

const std::string_view kSafePrompt =
    "Always assist with care, respect, and truth. Respond with utmost utility yet securely. Avoid "
    "harmful, unethical, "
    "prejudiced, or negative content. Ensure replies promote fairness and positivity.";

namespace {

constexpr std::string_view kBlankLine = "\n\n";

// What is left after the system messages are taken out and neighbours of one role are merged.
struct Conversation {
  std::string system;
  std::vector<Message> messages;
  size_t last_user = 0;
};

void AppendParagraph(std::string& text, std::string_view paragraph) {
  if (!text.empty() && !paragraph.empty()) text += kBlankLine;
  text += paragraph;
}

Conversation Normalise(std::span<const Message> messages, const ChatOptions& options) {
  Conversation conversation;
  if (options.safe_prompt) conversation.system = kSafePrompt;
  std::vector<Message>& merged = conversation.messages;
  for (const Message& message : messages) {
    if (message.role == Role::kSystem) {
      AppendParagraph(conversation.system, message.content);
    } else if (message.role == Role::kTool || merged.empty() ||
               merged.back().role != message.role) {
      merged.push_back(message);
    } else {
      Message& last = merged.back();
      if (last.role == Role::kAssistant && last.trained != message.trained)
        throw Error("neighbouring assistant messages make one turn but only one is to be trained");
      AppendParagraph(last.content, message.content);
      last.tool_calls.insert(last.tool_calls.end(), message.tool_calls.begin(),
                             message.tool_calls.end());
      last.prefix = message.prefix;
    }
  }
  // The formats begin with the user, who may have said nothing yet.
  if (merged.empty() || merged[0].role != Role::kUser)
    merged.insert(merged.begin(), Message{.role = Role::kUser, .content = ""});
  for (size_t i = 0; i < merged.size(); ++i) {
    if (merged[i].role == Role::kUser) conversation.last_user = i;
    if (!merged[i].content.empty() && !merged[i].tool_calls.empty()) {
      throw Error("an assistant turn has both content and tool calls but must have one of them");
    }
  }
  if (options.continue_final_message && merged.back().role == Role::kAssistant)
    merged.back().prefix = true;
  return conversation;
}

// JSON if it is JSON, else a string of it; nothing said is an empty object.
std::string AsPythonJson(const std::string& content) {
  if (content.empty()) return "{}";
  const std::optional<std::string> json = PythonJson(content);
  return json ? *json : PythonJsonString(content);
}

std::string ToolsJson(std::span<const ToolDefinition> tools) {
  std::string json;
  for (const ToolDefinition& tool : tools) {
    json += json.empty() ? "[" : ", ";
    const std::string parameters =
        tool.parameters.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
    json += fmt::format(R"({{"type": "function", "function": )"
                        R"({{"name": {}, "description": {}, "parameters": {}}}}})",
                        PythonJsonString(tool.name), PythonJsonString(tool.description),
                        AsPythonJson(parameters));
  }
  return json + "]";
}

std::string ToolCallsJson(std::span<const ToolCall> calls, ChatVersion version) {
  std::string json;
  for (const ToolCall& call : calls) {
    json += json.empty() ? "[" : ", ";
    json += fmt::format(R"({{"name": {}, "arguments": {})", PythonJsonString(call.name),
                        AsPythonJson(call.arguments));
    const bool has_id = version == ChatVersion::kV3 && !call.id.empty() && call.id != "null";
    if (has_id) json += fmt::format(R"(, "id": {})", PythonJsonString(call.id));
    json += "}";
  }
  return json + "]";
}

std::string ToolResultJson(const Message& message, ChatVersion version) {
  if (version == ChatVersion::kV2) {
    return fmt::format(R"([{{"name": {}, "content": {}}}])", PythonJsonString(message.name),
                       AsPythonJson(message.content));
  }
  return fmt::format(R"({{"content": {}, "call_id": {}}})", AsPythonJson(message.content),
                     PythonJsonString(message.tool_call_id));
}

class ChatEncoder {
 public:
  ChatEncoder(const Tokenizer& tokenizer, ChatVersion version)
      : tokenizer_(tokenizer), version_(version) {
    AddSpecial(tokenizer.bos_id(), "BOS");
  }

  void AddSpecial(int32_t id, const char* name) {
    if (id < 0) throw Error("the tokenizer has no {} piece but the chat format needs one", name);
    Append({&id, 1});
  }

  void AddControl(const char* name) {
    const std::optional<int32_t> id = tokenizer_.FindPiece(name);
    if (!id || !tokenizer_.IsControl(*id)) {
      throw Error("the tokenizer has no control piece {} but chat format v{} needs it", name,
                  static_cast<int>(version_));
    }
    Append({&*id, 1});
  }

  void AddText(std::string_view text) { Append(tokenizer_.Encode(text)); }

  void AddUser(const std::string& content) {
    if (version_ == ChatVersion::kV1) return AddText("[INST] " + content + " [/INST]");
    AddControl("[INST]");
    AddText(content);
    AddControl("[/INST]");
  }

  void AddAssistant(const Message& message) {
    trained_ = message.trained;
    if (!message.tool_calls.empty()) {
      AddControl("[TOOL_CALLS]");
      AddText(ToolCallsJson(message.tool_calls, version_));
    } else if (version_ == ChatVersion::kV1) {
      AddText(message.content);
    } else {
      const std::string_view content = message.content;
      AddText(content.substr(0, content.find_last_not_of(' ') + 1));
    }
    if (!message.prefix) AddSpecial(tokenizer_.eos_id(), "EOS");
    trained_ = false;
  }

  void AddToolResult(const Message& message) {
    AddControl("[TOOL_RESULTS]");
    AddText(ToolResultJson(message, version_));
    AddControl("[/TOOL_RESULTS]");
  }

  void AddTools(std::span<const ToolDefinition> tools) {
    AddControl("[AVAILABLE_TOOLS]");
    AddText(ToolsJson(tools));
    AddControl("[/AVAILABLE_TOOLS]");
  }

  EncodedChat Take() { return std::move(chat_); }

 private:
  void Append(std::span<const int32_t> ids) {
    chat_.ids.insert(chat_.ids.end(), ids.begin(), ids.end());
    chat_.trained.insert(chat_.trained.end(), ids.size(), trained_ ? 1 : 0);
  }

  const Tokenizer& tokenizer_;
  ChatVersion version_;
  bool trained_ = false;
  EncodedChat chat_;
};

// v1 puts the system text before the first user message, v2 and v3 before the last.
std::string UserContent(const Conversation& conversation, size_t index, ChatVersion version) {
  const std::string& content = conversation.messages[index].content;
  const size_t carrier = version == ChatVersion::kV1 ? 0 : conversation.last_user;
  if (index != carrier || conversation.system.empty()) return content;
  return conversation.system + std::string(kBlankLine) + content;
}

}  // namespace

EncodedChat EncodeChatForTraining(const Tokenizer& tokenizer, ChatVersion version,
                                  std::span<const Message> messages,
                                  std::span<const ToolDefinition> tools,
                                  const ChatOptions& options) {
  ValidateChat(version, messages, tools, options);
  const Conversation conversation = Normalise(messages, options);
  ChatEncoder encoder(tokenizer, version);
  for (size_t i = 0; i < conversation.messages.size(); ++i) {
    const Message& message = conversation.messages[i];
    // v2 forgets the tools' history once the user speaks again.
    const bool forgotten = version == ChatVersion::kV2 && i < conversation.last_user;
    switch (message.role) {
      case Role::kUser:
        if (i == conversation.last_user && !tools.empty()) encoder.AddTools(tools);
        encoder.AddUser(UserContent(conversation, i, version));
        break;
      case Role::kAssistant:
        if (!forgotten || message.tool_calls.empty()) encoder.AddAssistant(message);
        break;
      case Role::kTool:
        if (!forgotten) encoder.AddToolResult(message);
        break;
      case Role::kSystem:
        CADRE_CHECK(false);
    }
  }
  return encoder.Take();
}

std::vector<int32_t> EncodeChat(const Tokenizer& tokenizer, ChatVersion version,
                                std::span<const Message> messages,
                                std::span<const ToolDefinition> tools, const ChatOptions& options) {
  return EncodeChatForTraining(tokenizer, version, messages, tools, options).ids;
}

void NameResults(std::vector<Message>& messages) {
  std::map<std::string, std::string> name_of;
  for (Message& message : messages) {
    for (const ToolCall& call : message.tool_calls) name_of[call.id] = call.name;
    if (message.role != Role::kTool || !message.name.empty()) continue;
    const auto found = name_of.find(message.tool_call_id);
    if (found != name_of.end()) message.name = found->second;
  }
}

}  // namespace cadre
