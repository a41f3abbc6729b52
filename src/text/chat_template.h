// What a checkpoint's chat template (Jinja) writes, told by its marks: templates are never run, for
// they are programs from outside, and a string rendered and parsed again would let users forge
// control tokens. Conversations are always encoded by text/chat.h.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "text/chat.h"
#include "text/vocabulary.h"

namespace cadre {

enum class TemplateKind : uint8_t {
  kNone,            // the checkpoint has none
  kMistralV1,       // "[INST] user [/INST] answer</s>"; with a system message or without
  kMistralControl,  // v2 or v3 without tools: [INST] and [/INST] are control tokens
  kMistralV2,       // with tools; results carry the function's name
  kMistralV3,       // with tools; calls and results carry an id
  kMistralTekken,   // v3 for a byte-level vocabulary: no space after a control token
  kMistralV7,       // [SYSTEM_PROMPT]
  kLlama2,          // [INST] with <<SYS>>
  kLlama3,          // <|start_header_id|>
  kChatMl,          // <|im_start|>
  kZephyr,          // <|user|>
  kOpenChat,        // GPT4 Correct User:
  kGemma,           // <start_of_turn>
  kAlpaca,          // ### Instruction:
  kVicuna,          // USER: ... ASSISTANT:
  kUnknown,
};

TemplateKind RecogniseTemplate(std::string_view chat_template);

// "Mistral's v3", "ChatML": for messages.
std::string_view TemplateName(TemplateKind kind);

// A template (Jinja) that writes the version, for a model that is to be published with one: v1
// only, empty for the others. Its {% generation %} marks are what the assistant wrote.
std::string_view TemplateOf(ChatVersion version);

struct ChatFormat {
  ChatVersion version = ChatVersion::kV1;
  std::string
      warning;  // a sentence: what the template writes and what is used instead; may be empty
};

// The format for a checkpoint. Its vocabulary decides, for its control pieces are what the model
// was trained with: without [INST] among them only v1 can be said, [PREFIX] is v3's. A template
// that writes something else is a warning. Throws Error for a vocabulary of v7 ([SYSTEM_PROMPT]).
ChatFormat ChooseChatFormat(const Vocabulary& vocabulary, std::string_view chat_template);

}  // namespace cadre
