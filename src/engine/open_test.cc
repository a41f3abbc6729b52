#include "engine/open.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "engine/save_text.h"
#include "engine/test_model.h"
#include "model/testing.h"
#include "text/sentencepiece_model.h"

namespace cadre {
namespace {

namespace fs = std::filesystem;
using testing_model::MakeSmallModel;
using testing_model::SmallVocabulary;

class OpenTest : public testing::Test {
 protected:
  OpenTest() : folder_(fs::temp_directory_path() / ("cadre-open-" + std::to_string(getpid()))) {
    fs::create_directories(folder_);
  }
  ~OpenTest() override { fs::remove_all(folder_); }

  void Write(const std::string& name, const std::string& text) {
    std::ofstream(folder_ / name, std::ios::binary) << text;
  }
  void WriteModel() {
    const auto small = MakeSmallModel();
    model_testing::SaveArenaAsHuggingFace(small.config, small.arena, folder_.string());
  }
  void WriteTokenizer(const Vocabulary& vocabulary) {
    Write("tokenizer.model", WriteSentencePieceModel(vocabulary));
  }

  fs::path folder_;
};

TEST_F(OpenTest, FindsTheTokenizerBesideTheWeights) {
  WriteModel();
  EXPECT_NO_THROW(OpenModel(folder_.string(), TextNeed::kNone));
  EXPECT_THROW(OpenModel(folder_.string(), TextNeed::kTokens), Error);
  WriteTokenizer(SmallVocabulary());
  const auto opened = OpenModel(folder_.string(), TextNeed::kChat);
  EXPECT_EQ(opened.tokenizer->vocab_size(), SmallVocabulary().size());
  EXPECT_EQ(opened.chat_version, ChatVersion::kV1);
  EXPECT_TRUE(opened.warnings.empty());
}

TEST_F(OpenTest, FindsATokenizerWithoutWeights) {
  EXPECT_THROW(OpenText(folder_.string()), Error);
  WriteTokenizer(SmallVocabulary());
  EXPECT_EQ(OpenText(folder_.string()).vocabulary.size(), SmallVocabulary().size());
  EXPECT_EQ(OpenText((folder_ / "tokenizer.model").string()).vocabulary.size(),
            SmallVocabulary().size());
}

TEST_F(OpenTest, ReadsTheTemplateAndBosOfTheConfigBesideIt) {
  WriteTokenizer(SmallVocabulary());
  Write("tokenizer_config.json",
        R"({"add_bos_token": false, "chat_template": [
           {"name": "tool", "template": "a"}, {"name": "default", "template": "b"}]})");
  const auto text = OpenText(folder_.string());
  EXPECT_EQ(text.chat_template, "b");
  EXPECT_FALSE(text.vocabulary.add_bos);
  Write("tokenizer_config.json", "[]");
  EXPECT_THROW(OpenText(folder_.string()), Error);
}

TEST_F(OpenTest, FindsTheTokenizerUnderMistralsNames) {
  const std::string model = WriteSentencePieceModel(SmallVocabulary());
  Write("tekken.json", "{}");
  EXPECT_THROW(OpenText(folder_.string()), Error);
  Write("tokenizer.model.v3", model);
  EXPECT_EQ(OpenText(folder_.string()).vocabulary.size(), SmallVocabulary().size());
  Write("mistral_instruct_tokenizer_240216.model.v2", model);
  EXPECT_THROW(OpenText(folder_.string()), Error);  // which one?
  WriteTokenizer(SmallVocabulary());
  EXPECT_TRUE(OpenText(folder_.string()).file.ends_with("/tokenizer.model"));
}

TEST_F(OpenTest, SaysWhatIsUsedInsteadOfAnotherChatTemplate) {
  WriteModel();
  WriteTokenizer(SmallVocabulary());
  Write("chat_template.json", R"({"chat_template": "{{ '<|im_start|>' + role }}"})");
  EXPECT_TRUE(OpenModel(folder_.string(), TextNeed::kTokens).warnings.empty());
  const auto opened = OpenModel(folder_.string(), TextNeed::kChat);
  ASSERT_EQ(opened.warnings.size(), 1u);
  EXPECT_NE(opened.warnings[0].find("ChatML"), std::string::npos) << opened.warnings[0];
  EXPECT_EQ(opened.chat_version, ChatVersion::kV1);
}

TEST_F(OpenTest, ReadsTheTokenizerOfAGguf) {
  const auto small = MakeSmallModel();
  const Vocabulary vocabulary = SmallVocabulary();
  const std::string path = (folder_ / "model.gguf").string();
  model_testing::SaveArenaAsGguf(
      small.config, small.arena, DType::kF32, path,
      [&](GgufWriter& writer) { SetTextMetadata(vocabulary, "[INST]", writer); });
  for (const auto& where : {path, folder_.string()}) {
    const auto text = OpenText(where);
    EXPECT_EQ(text.vocabulary.size(), vocabulary.size());
    EXPECT_EQ(text.chat_template, "[INST]");
    EXPECT_EQ(OpenModel(where, TextNeed::kTokens).tokenizer->vocab_size(), vocabulary.size());
  }
}

TEST_F(OpenTest, RefusesATokenizerLargerThanTheModelAndWarnsOfASmallerOne) {
  WriteModel();
  Vocabulary vocabulary = SmallVocabulary();
  vocabulary.pieces.push_back({"zz", -1000});
  WriteTokenizer(vocabulary);
  EXPECT_THROW(OpenModel(folder_.string(), TextNeed::kTokens), Error);
  vocabulary = SmallVocabulary();
  vocabulary.pieces.pop_back();
  WriteTokenizer(vocabulary);
  EXPECT_EQ(OpenModel(folder_.string(), TextNeed::kTokens).warnings.size(), 1u);
}

}  // namespace
}  // namespace cadre
