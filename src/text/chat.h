// Conversations as token ids, in Mistral's instruct formats v1 (Mixtral-8x7B), v2 and v3
// (Mixtral-8x22B). Built id by id from typed messages, never by rendering a string and parsing it
// again: in v2 and v3 no user text can forge a control token (v1 has none; there "[INST]" is
// ordinary text). Refuses conversations that the models were not trained on.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "text/tokenizer.h"

namespace cadre {

enum class Role : uint8_t { kSystem, kUser, kAssistant, kTool };

struct ToolCall {
  std::string id;  // nine letters or digits; empty where there is none
  std::string name;
  std::string arguments;  // JSON text
};

struct Message {
  Role role = Role::kUser;
  std::string content;
  std::vector<ToolCall> tool_calls = {};  // assistant only, instead of content
  std::string tool_call_id = {};          // tool only: the call that this answers; v3 needs it
  std::string name = {};                  // tool only: the function's name; v2 needs it
  bool prefix = false;                    // a last assistant message that the model is to continue
  bool trained = true;                    // assistant only: what training is to learn
};

struct ToolDefinition {
  std::string name;
  std::string description;
  OrderedJson parameters = OrderedJson::object();  // a JSON schema
};

enum class ChatVersion : uint8_t { kV1 = 1, kV2 = 2, kV3 = 3 };

struct ChatOptions {
  bool safe_prompt = false;             // puts kSafePrompt before all system text
  bool continue_final_message = false;  // as if the last assistant message had `prefix`
  bool for_training =
      false;  // the conversation is complete: it may end with a finished assistant message
};

extern const std::string_view kSafePrompt;

struct EncodedChat {
  std::vector<int32_t> ids;      // BOS first
  std::vector<uint8_t> trained;  // [ids]: 1 where a `trained` message of the assistant wrote the id
                                 // (its EOS too)
};

// Throws Error("messages[{i}]: ...") for a conversation that the version cannot say, Error for a
// tokenizer without the control pieces that it needs.
EncodedChat EncodeChatForTraining(const Tokenizer& tokenizer, ChatVersion version,
                                  std::span<const Message> messages,
                                  std::span<const ToolDefinition> tools = {},
                                  const ChatOptions& options = {});

// The ids only.
std::vector<int32_t> EncodeChat(const Tokenizer& tokenizer, ChatVersion version,
                                std::span<const Message> messages,
                                std::span<const ToolDefinition> tools = {},
                                const ChatOptions& options = {});

// Throws Error at the first broken rule: order of roles, one of content and tool calls, as many
// results as calls, names, ids.
void ValidateChat(ChatVersion version, std::span<const Message> messages,
                  std::span<const ToolDefinition> tools, const ChatOptions& options);

// Gives results of tools the name of the call they answer, where data leaves it to the call: v2
// tells results by name.
void NameResults(std::vector<Message>& messages);

}  // namespace cadre
