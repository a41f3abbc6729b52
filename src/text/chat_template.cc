#include "text/chat_template.h"

#include <algorithm>

#include "base/error.h"

namespace cadre {
namespace {

bool HasControl(const Vocabulary& vocabulary, std::string_view name) {
  return std::any_of(vocabulary.pieces.begin(), vocabulary.pieces.end(), [&](const Piece& piece) {
    return piece.type == PieceType::kControl && piece.text == name;
  });
}

TemplateKind RecogniseMistral(std::string_view text) {
  const auto has = [&](std::string_view mark) { return text.find(mark) != text.npos; };
  if (has("<<SYS>>")) return TemplateKind::kLlama2;
  // The string that begins a user's turn, as the template quotes it: tekken has no space there.
  if (has("\"[INST]\"") || has("'[INST]'")) return TemplateKind::kMistralTekken;
  if (has("[AVAILABLE_TOOLS]") || has("[TOOL_CALLS]") || has("[TOOL_RESULTS]"))
    return has("call_id") ? TemplateKind::kMistralV3 : TemplateKind::kMistralV2;
  // The string that ends it: only v1, where the mark is text, has a space before.
  return has(" [/INST]") ? TemplateKind::kMistralV1 : TemplateKind::kMistralControl;
}

bool Writes(TemplateKind kind, ChatVersion version) {
  switch (kind) {
    case TemplateKind::kNone:
      return true;
    case TemplateKind::kMistralV1:
      return version == ChatVersion::kV1;
    case TemplateKind::kMistralControl:
      return version != ChatVersion::kV1;
    case TemplateKind::kMistralV2:
      return version == ChatVersion::kV2;
    case TemplateKind::kMistralV3:
      return version == ChatVersion::kV3;
    default:
      return false;
  }
}

ChatVersion VersionOf(const Vocabulary& vocabulary) {
  if (HasControl(vocabulary, "[SYSTEM_PROMPT]")) {
    throw Error(
        "the tokenizer has the control piece [SYSTEM_PROMPT] of Mistral's chat format v7 but must "
        "be one of v1, v2 or v3");
  }
  if (!HasControl(vocabulary, "[INST]")) return ChatVersion::kV1;
  return HasControl(vocabulary, "[PREFIX]") ? ChatVersion::kV3 : ChatVersion::kV2;
}

}  // namespace

TemplateKind RecogniseTemplate(std::string_view chat_template) {
  if (chat_template.empty()) return TemplateKind::kNone;
  struct Mark {
    std::string_view text;
    TemplateKind kind;
  };
  // The most telling first: templates quote marks of other formats only rarely.
  static constexpr Mark kMarks[] = {
      {"[SYSTEM_PROMPT]", TemplateKind::kMistralV7},  {"<|im_start|>", TemplateKind::kChatMl},
      {"<|start_header_id|>", TemplateKind::kLlama3}, {"<start_of_turn>", TemplateKind::kGemma},
      {"GPT4 Correct", TemplateKind::kOpenChat},      {"<|user|>", TemplateKind::kZephyr},
      {"### Instruction", TemplateKind::kAlpaca},
  };
  for (const auto& mark : kMarks)
    if (chat_template.find(mark.text) != chat_template.npos) return mark.kind;
  if (chat_template.find("[INST]") != chat_template.npos) return RecogniseMistral(chat_template);
  // Two plain words: only where nothing else is known.
  if (chat_template.find("USER:") != chat_template.npos) return TemplateKind::kVicuna;
  return TemplateKind::kUnknown;
}

std::string_view TemplateName(TemplateKind kind) {
  switch (kind) {
    case TemplateKind::kNone:
      return "none";
    case TemplateKind::kMistralV1:
      return "Mistral's v1";
    case TemplateKind::kMistralControl:
      return "Mistral's v2 or v3 without tools";
    case TemplateKind::kMistralV2:
      return "Mistral's v2";
    case TemplateKind::kMistralV3:
      return "Mistral's v3";
    case TemplateKind::kMistralTekken:
      return "Mistral's v3 for the tekken tokenizer";
    case TemplateKind::kMistralV7:
      return "Mistral's v7";
    case TemplateKind::kLlama2:
      return "Llama 2's";
    case TemplateKind::kLlama3:
      return "Llama 3's";
    case TemplateKind::kChatMl:
      return "ChatML";
    case TemplateKind::kZephyr:
      return "Zephyr's";
    case TemplateKind::kOpenChat:
      return "OpenChat's";
    case TemplateKind::kGemma:
      return "Gemma's";
    case TemplateKind::kAlpaca:
      return "Alpaca's";
    case TemplateKind::kVicuna:
      return "Vicuna's";
    case TemplateKind::kUnknown:
      break;
  }
  return "one that is not known here";
}

std::string_view TemplateOf(ChatVersion version) {
  if (version != ChatVersion::kV1) return "";
  // The system text goes before the first user's; a space before an answer is its first piece's.
  return "{{ bos_token }}{% set ns = namespace(system='') %}{% for message in messages %}"
         "{% if message['role'] == 'system' %}"
         "{% set ns.system = ns.system + message['content'] + '\\n\\n' %}"
         "{% elif message['role'] == 'user' %}"
         "{{ '[INST] ' + ns.system + message['content'] + ' [/INST]' }}{% set ns.system = '' %}"
         "{% elif message['role'] == 'assistant' %}"
         "{% generation %}{{ ' ' + message['content'] + eos_token }}{% endgeneration %}"
         "{% else %}{{ raise_exception('roles are system, user and assistant') }}{% endif %}"
         "{% endfor %}";
}

ChatFormat ChooseChatFormat(const Vocabulary& vocabulary, std::string_view chat_template) {
  ChatFormat format{VersionOf(vocabulary), {}};
  const TemplateKind kind = RecogniseTemplate(chat_template);
  if (!Writes(kind, format.version)) {
    format.warning = fmt::format(
        "the checkpoint's chat template is {}, but its tokenizer {}: Mistral's v{} is used instead",
        TemplateName(kind),
        format.version == ChatVersion::kV1   ? "has no control piece [INST]"
        : format.version == ChatVersion::kV2 ? "has the control pieces of v2"
                                             : "has the control pieces of v3",
        static_cast<int>(format.version));
  }
  return format;
}

}  // namespace cadre
