#include "align/sample.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <map>

#include "align/message_json.h"
#include "align/testing.h"
#include "base/error.h"
#include "base/mapped_file.h"
#include "base/testing.h"
#include "engine/open.h"
#include "text/testing.h"

namespace cadre {
namespace {

using align_testing::ChatSample;
using align_testing::SmallText;
using align_testing::SmallTokenizer;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

std::string SourcePath(const std::string& path) {
  return std::string(std::getenv("CADRE_SOURCE_DIR")) + "/" + path;
}

// The text of the learnt tokens.
std::string Learnt(const Sample& sample) {
  std::string text;
  for (size_t i = 0; i < sample.tokens.size(); ++i) {
    if (sample.trained[i] == 0) continue;
    const bool eos = sample.tokens[i] == SmallTokenizer().eos_id();
    text += eos ? "</s>" : SmallTokenizer().PieceBytes(sample.tokens[i]);
  }
  return text;
}

OrderedJson OpenGolden(const std::string& name) {
  const MappedFile file(SourcePath("tests/goldens/chat_masks/" + name));
  return ParseOrderedJson(file.text(), file.path());
}

using TokenizerOf = std::function<const Tokenizer&(ChatVersion)>;

// Every chat of the golden; returns how many there are of each version.
std::map<ChatVersion, int> ExpectIdsAndMasks(const OrderedJson& golden,
                                             const TokenizerOf& tokenizer_of) {
  std::map<ChatVersion, int> seen;
  for (const auto& chat : golden.at("chats")) {
    DataLine line;
    line.messages = ParseDataMessages(chat.at("messages"), "messages");
    if (chat.contains("tools")) line.tools = ParseDataTools(chat.at("tools"), "tools");
    const auto version = static_cast<ChatVersion>(chat.at("version").get<int>());
    const Sample sample = EncodeSample(line, {tokenizer_of(version), version}, "test");
    EXPECT_EQ(sample.tokens, chat.at("ids").get<std::vector<int32_t>>()) << chat.dump();
    EXPECT_EQ(sample.trained, chat.at("mask").get<std::vector<uint8_t>>()) << chat.dump();
    ++seen[version];
  }
  return seen;
}

TEST(EncodeSample, HasTheIdsAndMasksOfTransformers) {
  const OrderedJson golden = OpenGolden("chats.json");
  TextSource source = OpenText(SourcePath("models/nano/nano.gguf"));
  const Tokenizer plain(source.vocabulary, source.file);
  for (const auto& name : golden.at("controls"))
    source.vocabulary.pieces.push_back({name, 0, PieceType::kControl});
  const Tokenizer with_controls(std::move(source.vocabulary), source.file);
  const auto seen = ExpectIdsAndMasks(golden, [&](ChatVersion version) -> const Tokenizer& {
    return version == ChatVersion::kV1 ? plain : with_controls;
  });
  EXPECT_THAT(seen, ElementsAre(Pair(ChatVersion::kV1, 5), Pair(ChatVersion::kV2, 7),
                                Pair(ChatVersion::kV3, 7)));
}

TEST(EncodeSample, HasTheIdsAndMasksOfTransformersWithMistralsTokenizers) {
  if (!testing::TokenizerFolder()) GTEST_SKIP() << "CADRE_TEST_DATA is not set";
  std::map<ChatVersion, Tokenizer> tokenizers;
  for (const auto version : {ChatVersion::kV1, ChatVersion::kV2, ChatVersion::kV3})
    tokenizers.emplace(version, testing::PublishedTokenizer(static_cast<int>(version)));
  const auto seen = ExpectIdsAndMasks(
      OpenGolden("mistral.json"),
      [&](ChatVersion version) -> const Tokenizer& { return tokenizers.at(version); });
  EXPECT_THAT(seen, ElementsAre(Pair(ChatVersion::kV1, 3), Pair(ChatVersion::kV2, 6),
                                Pair(ChatVersion::kV3, 6)));
}

TEST(EncodeSample, LearnsAnswersWithTheirEnd) {
  EXPECT_EQ(Learnt(ChatSample("a question", "an answer")), " an answer</s>");
  DataLine line;
  line.messages = {{.role = Role::kUser, .content = "a"},
                   {.role = Role::kAssistant, .content = "known", .trained = false},
                   {.role = Role::kUser, .content = "b"},
                   {.role = Role::kAssistant, .content = "new"}};
  EXPECT_EQ(Learnt(EncodeSample(line, SmallText(), "test")), " new</s>");
}

TEST(EncodeSample, OfPlainTextLearnsAllBehindThePrompt) {
  DataLine line;
  line.prompt = "two and two";
  line.text = " is four";
  const Sample sample = EncodeSample(line, SmallText(), "test");
  EXPECT_EQ(Learnt(sample), " is four</s>");
  EXPECT_EQ(sample.tokens.front(), SmallTokenizer().bos_id());
  EXPECT_EQ(SmallTokenizer().Decode(sample.tokens), "two and two is four");
}

TEST(EncodeSample, NamesTheLineOfWhatTheFormatCannotSay) {
  const auto error = [](std::vector<Message> messages) {
    return base_testing::ErrorOf([&] {
      DataLine line;
      line.messages = std::move(messages);
      EncodeSample(line, SmallText(), "d.jsonl:9");
    });
  };
  EXPECT_THAT(
      error({{.role = Role::kUser, .content = "q"}, {.role = Role::kAssistant, .content = ""}}),
      HasSubstr("d.jsonl:9: messages[1]: an assistant message must have either"));
  EXPECT_THAT(error({{.role = Role::kUser, .content = "q"},
                     {.role = Role::kAssistant, .content = "a"},
                     {.role = Role::kAssistant, .content = "b", .trained = false}}),
              HasSubstr("d.jsonl:9: neighbouring assistant messages"));
  EXPECT_THAT(base_testing::ErrorOf([] { EncodeSample({}, SmallText(), "d.jsonl:9"); }),
              HasSubstr("d.jsonl:9: holds no text to learn"));
}

TEST(Sample, HasAPromptThatTellsItApart) {
  DataLine line;
  line.text = "once upon a time";
  const Sample text = EncodeSample(line, SmallText(), "test");
  EXPECT_EQ(text.Prompt().size(), text.tokens.size());
  const Sample one = ChatSample("why", "so"), two = ChatSample("why", "no");
  EXPECT_TRUE(std::ranges::equal(one.Prompt(), two.Prompt()));
  EXPECT_EQ(one.trained[one.Prompt().size()], 1);
}

TEST(CutEnd, LeavesNothingBehindTheLastLearntToken) {
  Sample sample{.tokens = {1, 5, 6, 7, 8}, .trained = {0, 0, 1, 1, 0}};
  EXPECT_FALSE(CutEnd(sample, 5));
  EXPECT_THAT(sample.tokens, ElementsAre(1, 5, 6, 7));
  EXPECT_TRUE(CutEnd(sample, 3));
  EXPECT_THAT(sample.tokens, ElementsAre(1, 5, 6));
  EXPECT_TRUE(CutEnd(sample, 2));
  EXPECT_EQ(sample.CountTrained(), 0);
  EXPECT_TRUE(sample.tokens.empty());
}

}  // namespace
}  // namespace cadre
