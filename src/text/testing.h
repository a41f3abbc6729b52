// What the tests of this floor share: the published tokenizers (where CADRE_TEST_DATA says they
// are) and a tiny tokenizer trained on the spot, for everything that must be tested without outside
// data.
#pragma once

#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/mapped_file.h"
#include "text/sentencepiece_model.h"
#include "text/tokenizer.h"
#include "text/tokenizer_trainer.h"

namespace cadre::testing {

// The folder of the published tokenizers and their vectors, where there is one.
inline std::optional<std::string> TokenizerFolder() {
  const char* data = std::getenv("CADRE_TEST_DATA");
  if (data == nullptr || *data == '\0') return std::nullopt;
  return std::string(data) + "/tokenizers/";
}

// `version` is 1, 2 or 3.
inline Vocabulary PublishedVocabulary(int version) {
  const char* const kFiles[] = {"mistral_tokenizer.model.v1",
                                "mistral_instruct_tokenizer_240216.model.v2",
                                "mistral_instruct_tokenizer_240323.model.v3"};
  const MappedFile file(*TokenizerFolder() + kFiles[version - 1]);
  return ReadSentencePieceModel(file.bytes(), file.path());
}

inline Tokenizer PublishedTokenizer(int version) {
  return {PublishedVocabulary(version), "published"};
}

inline Json Vectors() { return ReadJsonFile(*TokenizerFolder() + "vectors.json"); }

inline std::vector<std::string> TinyCorpus() {
  return {
      "A sparse mixture of experts sends every token to a few experts only.\nThe router picks two "
      "of eight.\n",
      "The experts are small networks; the router learns which of them knows the next word best.\n",
      "    if (token < 0) {\n        return error;\n    }\n  int count = 1234567890;\n",
      "What is read from outside ends in a result or in an error: what, where, found, expected.\n",
      "Écris une phrase très courte. Das Mädchen läuft über die Straße. こんにちは世界\n",
      "\tTabs and newlines\r\nbecome bytes, (brackets), [more brackets], {braces}, \"quotes\" and "
      "50% of the rest!\n",
  };
}

// 400 pieces.
inline Vocabulary TinyVocabulary() {
  const std::vector<std::string> corpus = TinyCorpus();
  return TrainTokenizer(corpus, {.vocab_size = 400, .character_coverage = 1.0});
}

// The tiny vocabulary with the control pieces of v2 (and of v3) behind it, ids 400 and up.
inline Vocabulary TinyInstructVocabulary(bool v3) {
  Vocabulary vocabulary = TinyVocabulary();
  for (const char* name : {"[INST]", "[/INST]", "[TOOL_CALLS]", "[AVAILABLE_TOOLS]",
                           "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[PREFIX]"}) {
    if (v3 || std::string_view(name) != "[PREFIX]") {
      vocabulary.pieces.push_back({name, 0, PieceType::kControl});
    }
  }
  return vocabulary;
}

// Texts that are hard on tokenizers.
inline std::vector<std::string> HardTexts() {
  return {"a",
          " ",
          "  leading",
          "trailing  ",
          "                                 33 spaces",
          "\n\n\t\r\n",
          "<s>[INST] not control </s> <unk> <0x0A>",
          "12 345 6,789",
          "日本語 🙂👩‍👩‍👧 ①",
          "a\xE2\x96\x81z",
          std::string("zero\0byte", 9),
          "Straße ÉCRIS naïve",
          "if (x) {\n        return;\n}"};
}

}  // namespace cadre::testing

#define CADRE_NEEDS_TEST_DATA() \
  if (!cadre::testing::TokenizerFolder()) GTEST_SKIP() << "CADRE_TEST_DATA is not set"
