#include "align/data_line.h"

#include <algorithm>

#include "align/message_json.h"
#include "base/error.h"

namespace cadre {
namespace {

std::string StringMember(const OrderedJson& line, std::initializer_list<const char*> keys,
                         const std::string& name) {
  const OrderedJson* value = OneOf(line, keys, name);
  if (value == nullptr) return "";
  if (!value->is_string()) {
    throw Error("{}: {} is {} but must be a string", name, *keys.begin(), ShownJson(*value));
  }
  return value->get<std::string>();
}

void LearnNothing(std::vector<Message>& messages) {
  for (Message& message : messages) message.trained = false;
}

// One side of a pair of prompt and completion.
std::vector<Message> Turns(const OrderedJson& value, Role role, const std::string& name) {
  if (!value.is_string()) return ParseDataMessages(value, name);
  const auto& text = value.get_ref<const std::string&>();
  std::vector<Message> transcript = ParseTranscript(text);
  if (!transcript.empty()) return transcript;
  return {Message{.role = role, .content = text}};
}

std::string Instruction(const OrderedJson& line, const std::string& name) {
  std::string text = StringMember(line, {"instruction"}, name);
  const std::string input = StringMember(line, {"input", "context"}, name);
  if (!input.empty()) text += (text.empty() ? "" : "\n\n") + input;
  return text;
}

std::vector<ToolDefinition> Tools(const OrderedJson& line, const std::string& name) {
  const OrderedJson* tools = OneOf(line, {"tools", "available_tools"}, name + ":");
  if (tools == nullptr) return {};
  return ParseDataTools(*tools, name + ": tools");
}

void KeepLearntAfterLastUser(std::vector<Message>& messages) {
  const auto user = std::find_if(messages.rbegin(), messages.rend(),
                                 [](const Message& m) { return m.role == Role::kUser; });
  for (auto m = user; m != messages.rend(); ++m) m->trained = false;
}

// `completion` after `prompt`, of which nothing is learnt.
DataLine Joined(const OrderedJson& prompt, const OrderedJson& completion,
                const char* completion_key, StringsAs strings, const std::string& name) {
  DataLine data;
  if (prompt.is_string() && completion.is_string() && strings == StringsAs::kPlain) {
    data.prompt = prompt.get<std::string>();
    data.text = completion.get<std::string>();
    return data;
  }
  data.messages = Turns(prompt, Role::kUser, name + ": prompt");
  LearnNothing(data.messages);
  auto turns = Turns(completion, Role::kAssistant, fmt::format("{}: {}", name, completion_key));
  std::move(turns.begin(), turns.end(), std::back_inserter(data.messages));
  return data;
}

void CheckObject(const OrderedJson& line, const std::string& name) {
  if (!line.is_object()) throw Error("{}: is {} but must be an object", name, ShownJson(line));
}

// The whole conversation that `key` says where there is no prompt.
std::vector<Message> WholeConversation(const OrderedJson& value, const char* key,
                                       const std::string& name) {
  const std::string where = fmt::format("{}: {}", name, key);
  if (!value.is_string()) return ParseDataMessages(value, where);
  auto messages = ParseTranscript(value.get_ref<const std::string&>());
  if (messages.empty()) {
    throw Error(
        "{} has no prompt: there must be \"prompt\", or messages, or a transcript that begins with "
        "\"\\n\\nHuman:\"",
        where);
  }
  return messages;
}

bool SameMessage(const Message& a, const Message& b) {
  const auto same_call = [](const ToolCall& x, const ToolCall& y) {
    return x.id == y.id && x.name == y.name && x.arguments == y.arguments;
  };
  return a.role == b.role && a.content == b.content && a.tool_call_id == b.tool_call_id &&
         a.name == b.name &&
         std::equal(a.tool_calls.begin(), a.tool_calls.end(), b.tool_calls.begin(),
                    b.tool_calls.end(), same_call);
}

// Takes what both begin with for the prompt.
void SplitShared(DataLine& a, DataLine& b) {
  for (size_t i = 0; i < std::min(a.messages.size(), b.messages.size()) &&
                     SameMessage(a.messages[i], b.messages[i]);
       ++i) {
    a.messages[i].trained = b.messages[i].trained = false;
  }
}

bool SameText(const DataLine& a, const DataLine& b) {
  return a.text == b.text && std::equal(a.messages.begin(), a.messages.end(), b.messages.begin(),
                                        b.messages.end(), SameMessage);
}

}  // namespace

DataLine ParseInstructionLine(const OrderedJson& line, StringsAs strings, const std::string& name) {
  CheckObject(line, name);
  DataLine data;
  const OrderedJson* messages =
      OneOf(line, {"messages", "interactions", "conversations"}, name + ":");
  const OrderedJson* prompt = OneOf(line, {"prompt"}, name);
  const OrderedJson* completion = OneOf(line, {"completion", "response", "output"}, name + ":");
  const OrderedJson* instruction = OneOf(line, {"instruction"}, name);
  if (messages != nullptr) {
    data.messages = ParseDataMessages(*messages, name + ": messages");
  } else if (prompt != nullptr && completion != nullptr) {
    data = Joined(*prompt, *completion, "completion", strings, name);
  } else if (instruction != nullptr && completion != nullptr) {
    const OrderedJson text = Instruction(line, name);
    data = Joined(text, *completion, "output", strings, name);
  } else if (OneOf(line, {"text", "content"}, name + ":") != nullptr) {
    data.text = StringMember(line, {"text", "content"}, name);
  } else {
    throw Error(
        "{}: has none of \"messages\", \"prompt\" with \"completion\", \"instruction\" with "
        "\"output\", and \"text\"",
        name);
  }
  data.tools = Tools(line, name);
  if (!data.tools.empty()) KeepLearntAfterLastUser(data.messages);
  return data;
}

PreferenceLine ParsePreferenceLine(const OrderedJson& line, StringsAs strings,
                                   const std::string& name) {
  CheckObject(line, name);
  const OrderedJson* chosen = OneOf(line, {"chosen"}, name);
  const OrderedJson* rejected = OneOf(line, {"rejected"}, name);
  if (chosen == nullptr) throw Error("{}: has no \"chosen\"", name);
  if (rejected == nullptr) throw Error("{}: has no \"rejected\"", name);
  const OrderedJson* prompt = OneOf(line, {"prompt"}, name);
  PreferenceLine pair;
  if (prompt != nullptr || OneOf(line, {"instruction"}, name) != nullptr) {
    const OrderedJson said = prompt != nullptr ? *prompt : OrderedJson(Instruction(line, name));
    pair.chosen = Joined(said, *chosen, "chosen", strings, name);
    pair.rejected = Joined(said, *rejected, "rejected", strings, name);
  } else {
    pair.chosen.messages = WholeConversation(*chosen, "chosen", name);
    pair.rejected.messages = WholeConversation(*rejected, "rejected", name);
    SplitShared(pair.chosen, pair.rejected);
  }
  if (SameText(pair.chosen, pair.rejected))
    throw Error("{}: chosen and rejected are the same", name);
  pair.chosen.tools = pair.rejected.tools = Tools(line, name);
  return pair;
}

}  // namespace cadre
