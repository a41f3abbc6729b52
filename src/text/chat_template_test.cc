#include "text/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "text/testing.h"

namespace cadre {
namespace {

using ::testing::HasSubstr;

// Templates in the spellings that circulate, shortened to what tells them apart.
constexpr const char* kFirstV1 =
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ '[INST] ' + message['content'] + ' [/INST]' }}{% elif message['role'] == 'assistant' %}"
    "{{ message['content'] + eos_token }}{% endif %}{% endfor %}";
constexpr const char* kLaterV1 =
    "{{- bos_token }}{% if loop.first and system_message is defined %}{{- ' [INST] ' + "
    "system_message + '\\n\\n' + message['content'] + ' [/INST]' }}{% else %}{{- ' [INST] ' + "
    "message['content'] + ' [/INST]' }}{% endif %}";
constexpr const char* kPlainV3 = "{{ '[INST] ' + message['content'] + '[/INST]' }}";
constexpr const char* kToolsV2 =
    "{{- \"[AVAILABLE_TOOLS] [\" }}{{- \"[INST] \" + message[\"content\"] + \"[/INST]\" }}"
    "{{- \"[TOOL_RESULTS] [{\\\"name\\\": \" }}";
constexpr const char* kToolsV3 =
    "{{- \"[AVAILABLE_TOOLS] [\" }}{{- \"[INST] \" + message[\"content\"] + \"[/INST]\" }}"
    "{{- '[TOOL_RESULTS] {\"content\": ' + content|string + ', \"call_id\": \"' }}";
constexpr const char* kTekken =
    "{{- \"[AVAILABLE_TOOLS][\" }}{{- \"[INST]\" + message[\"content\"] + \"[/INST]\" }}call_id";
constexpr const char* kV7 = "{{ '[SYSTEM_PROMPT] ' + m + '[/SYSTEM_PROMPT]' }}{{ '[INST] ' }}";
constexpr const char* kChatMl =
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n'}}{% endfor %}";
constexpr const char* kLlama2 =
    "{{ '[INST] <<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + content + ' [/INST]' }}";

TEST(RecogniseTemplate, KnowsTheSpellingsThatCirculate) {
  const std::pair<const char*, TemplateKind> cases[] = {
      {"", TemplateKind::kNone},
      {kFirstV1, TemplateKind::kMistralV1},
      {kLaterV1, TemplateKind::kMistralV1},
      {kPlainV3, TemplateKind::kMistralControl},
      {kToolsV2, TemplateKind::kMistralV2},
      {kToolsV3, TemplateKind::kMistralV3},
      {kTekken, TemplateKind::kMistralTekken},
      {kV7, TemplateKind::kMistralV7},
      {kChatMl, TemplateKind::kChatMl},
      {kLlama2, TemplateKind::kLlama2},
      {"{{ '<|start_header_id|>' + role }}", TemplateKind::kLlama3},
      {"{{ '<|user|>\\n' + content }}", TemplateKind::kZephyr},
      {"{{ 'GPT4 Correct ' + role }}", TemplateKind::kOpenChat},
      {"{{ '<start_of_turn>' + role }}", TemplateKind::kGemma},
      {"{{ '### Instruction:\\n' }}", TemplateKind::kAlpaca},
      {"{{ 'USER: ' + content + ' ASSISTANT:' }}", TemplateKind::kVicuna},
      {"{{ messages }}", TemplateKind::kUnknown},
  };
  for (const auto& [text, kind] : cases)
    EXPECT_EQ(TemplateName(RecogniseTemplate(text)), TemplateName(kind)) << text;
}

TEST(ChooseChatFormat, IsSilentWhereTemplateAndVocabularyAgree) {
  const auto quiet = [](const Vocabulary& vocabulary, const char* text) {
    const ChatFormat format = ChooseChatFormat(vocabulary, text);
    EXPECT_EQ(format.warning, "") << text;
    return format.version;
  };
  for (const char* text : {"", kFirstV1, kLaterV1})
    EXPECT_EQ(quiet(testing::TinyVocabulary(), text), ChatVersion::kV1);
  EXPECT_EQ(quiet(testing::TinyVocabulary(), std::string(TemplateOf(ChatVersion::kV1)).c_str()),
            ChatVersion::kV1);
  for (const char* text : {"", kPlainV3, kToolsV2})
    EXPECT_EQ(quiet(testing::TinyInstructVocabulary(false), text), ChatVersion::kV2);
  for (const char* text : {"", kPlainV3, kToolsV3})
    EXPECT_EQ(quiet(testing::TinyInstructVocabulary(true), text), ChatVersion::kV3);
}

TEST(ChooseChatFormat, SaysWhatIsUsedInsteadOfAnotherTemplate) {
  for (const char* text :
       {kPlainV3, kToolsV2, kToolsV3, kTekken, kV7, kChatMl, kLlama2, "{{ 1 }}"}) {
    const ChatFormat format = ChooseChatFormat(testing::TinyVocabulary(), text);
    EXPECT_EQ(format.version, ChatVersion::kV1) << text;
    EXPECT_THAT(format.warning, HasSubstr("Mistral's v1 is used instead")) << text;
    EXPECT_THAT(format.warning, HasSubstr(TemplateName(RecogniseTemplate(text)))) << text;
  }
  for (const char* text : {kFirstV1, kToolsV2, kTekken, kChatMl}) {
    const ChatFormat format = ChooseChatFormat(testing::TinyInstructVocabulary(true), text);
    EXPECT_EQ(format.version, ChatVersion::kV3) << text;
    EXPECT_THAT(format.warning, HasSubstr("Mistral's v3 is used instead")) << text;
  }
}

TEST(ChooseChatFormat, RefusesTheVocabularyOfALaterFormat) {
  Vocabulary vocabulary = testing::TinyInstructVocabulary(true);
  vocabulary.pieces.push_back({"[SYSTEM_PROMPT]", 0, PieceType::kControl});
  EXPECT_THROW(ChooseChatFormat(vocabulary, ""), Error);
}

TEST(ChooseChatFormat, KnowsThePublishedVocabularies) {
  CADRE_NEEDS_TEST_DATA();
  for (const int version : {1, 2, 3}) {
    EXPECT_EQ(ChooseChatFormat(testing::PublishedVocabulary(version), "").version,
              static_cast<ChatVersion>(version));
  }
}

}  // namespace
}  // namespace cadre
