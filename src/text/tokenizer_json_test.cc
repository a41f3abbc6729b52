#include "text/tokenizer_json.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <tuple>
#include <unordered_map>

#include "base/error.h"
#include "base/json.h"
#include "text/testing.h"
#include "text/utf8.h"

namespace cadre {
namespace {

// tokenizer.json as converters of sentencepiece models write it: every split of a piece into two
// pieces is a merge, in the order of the pieces' scores.
Json ConvertedJson(const Vocabulary& vocabulary, bool merges_as_pairs, bool merges_by_id = false) {
  Json vocab = Json::object();
  Json added = Json::array();
  std::unordered_map<std::string, float> score_of;  // or minus the id
  for (size_t id = 0; id < vocabulary.pieces.size(); ++id) {
    const Piece& piece = vocabulary.pieces[id];
    vocab[piece.text] = id;
    if (piece.type == PieceType::kNormal) {
      score_of[piece.text] = merges_by_id ? -static_cast<float>(id) : piece.score;
    }
    if (piece.type == PieceType::kControl || piece.type == PieceType::kUnknown ||
        piece.type == PieceType::kUserDefined) {
      const bool special = piece.type != PieceType::kUserDefined;
      added.push_back(
          {{"id", id}, {"content", piece.text}, {"special", special}, {"normalized", false}});
    }
  }
  using Merge = std::tuple<float, size_t, size_t, std::string, std::string>;
  std::vector<Merge> merges;
  for (const auto& [text, score] : score_of) {
    for (size_t cut = 1; cut < text.size(); ++cut) {
      const std::string left = text.substr(0, cut);
      const std::string right = text.substr(cut);
      if (score_of.contains(left) && score_of.contains(right)) {
        merges.emplace_back(-score, left.size(), right.size(), left, right);
      }
    }
  }
  std::sort(merges.begin(), merges.end());
  Json list = Json::array();
  for (const auto& [score, left_size, right_size, left, right] : merges) {
    list.push_back(merges_as_pairs ? Json::array({left, right}) : Json(left + " " + right));
  }
  return {{"added_tokens", added},
          {"normalizer", nullptr},
          {"pre_tokenizer", nullptr},
          {"model",
           {{"type", "BPE"},
            {"unk_token", "<unk>"},
            {"byte_fallback", true},
            {"vocab", vocab},
            {"merges", list}}}};
}

Json LegacyNormalizer() {
  return Json::parse(R"({"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},
                        {"type":"Replace","pattern":{"String":" "},"content":"▁"}]})");
}

Json Metaspace(const char* scheme) {
  return {{"type", "Metaspace"},
          {"replacement", kSpaceSymbol},
          {"prepend_scheme", scheme},
          {"split", false}};
}

void ExpectSameIds(const Vocabulary& a, const Vocabulary& b,
                   const std::vector<std::string>& texts) {
  const Tokenizer left(a, "a");
  const Tokenizer right(b, "b");
  for (const std::string& text : texts) EXPECT_EQ(left.Encode(text), right.Encode(text)) << text;
}

TEST(ReadTokenizerJson, GivesTheIdsOfTheModelInEveryForm) {
  const Vocabulary original = testing::TinyInstructVocabulary(true);
  for (const bool pairs : {false, true}) {
    Json json = ConvertedJson(original, pairs);
    json["normalizer"] = LegacyNormalizer();
    ExpectSameIds(ReadTokenizerJson(json, nullptr, "legacy"), original, testing::HardTexts());
    json["normalizer"] = nullptr;
    for (const char* scheme : {"first", "always"}) {
      json["pre_tokenizer"] = Metaspace(scheme);
      ExpectSameIds(ReadTokenizerJson(json, nullptr, scheme), original, testing::HardTexts());
    }
    json["pre_tokenizer"] = Metaspace("never");
    EXPECT_FALSE(ReadTokenizerJson(json, nullptr, "never").add_dummy_prefix);
  }
}

TEST(ReadTokenizerJson, GivesThePublishedIdsAndRunsOfSpaces) {
  CADRE_NEEDS_TEST_DATA();
  std::vector<std::string> texts;
  const Json vectors = testing::Vectors();
  for (const Json& entry : vectors.at("raw_text")) texts.push_back(entry.at("text"));
  for (size_t size = 1; size < 40; ++size) texts.push_back("x" + std::string(size, ' ') + "y");
  for (const int version : {1, 3}) {
    const Vocabulary original = testing::PublishedVocabulary(version);
    for (const bool by_id : {false, true}) {
      Json json = ConvertedJson(original, version == 3, by_id);
      json["pre_tokenizer"] = Metaspace("first");
      ExpectSameIds(ReadTokenizerJson(json, nullptr, "converted"), original, texts);
    }
  }
}

TEST(WriteTokenizerJson, IsReadBackTheSame) {
  std::vector<std::string> texts = testing::HardTexts();
  for (size_t size = 1; size < 40; ++size) texts.push_back("x" + std::string(size, ' ') + "y");
  for (Vocabulary original : {testing::TinyVocabulary(), testing::TinyInstructVocabulary(true)}) {
    for (const bool prefix : {false, true}) {
      original.add_dummy_prefix = prefix;
      original.add_eos = prefix;
      const Json json = ParseJson(WriteTokenizerJson(original), "written");
      const Vocabulary again = ReadTokenizerJson(json, nullptr, "written");
      ExpectSameIds(again, original, texts);
      EXPECT_EQ(again.size(), original.size());
      EXPECT_EQ(again.add_bos, original.add_bos);
      EXPECT_EQ(again.add_eos, original.add_eos);
      EXPECT_EQ(again.add_dummy_prefix, original.add_dummy_prefix);
      EXPECT_EQ(again.bos_id, original.bos_id);
      EXPECT_EQ(again.unk_id, original.unk_id);
    }
    original.remove_extra_whitespaces = true;
    EXPECT_FALSE(CanWriteTokenizerJson(original));
  }
}

TEST(WriteTokenizerJson, KeepsThePublishedVocabularies) {
  CADRE_NEEDS_TEST_DATA();
  std::vector<std::string> texts;
  const Json vectors = testing::Vectors();
  for (const Json& entry : vectors.at("raw_text")) texts.push_back(entry.at("text"));
  for (const int version : {1, 3}) {
    const Vocabulary original = testing::PublishedVocabulary(version);
    const Json json = ParseJson(WriteTokenizerJson(original), "written");
    ExpectSameIds(ReadTokenizerJson(json, nullptr, "written"), original, texts);
  }
}

TEST(ReadTokenizerJson, ReadsSpecialTokensFromTemplateAndConfig) {
  Json json = ConvertedJson(testing::TinyInstructVocabulary(false), true);
  EXPECT_FALSE(ReadTokenizerJson(json, nullptr, "no template").add_bos);
  json["post_processor"] = Json::parse(
      R"({"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>","type_id":0}},
          {"Sequence":{"id":"A","type_id":0}}]})");
  const Vocabulary vocabulary = ReadTokenizerJson(json, nullptr, "template");
  EXPECT_TRUE(vocabulary.add_bos);
  EXPECT_FALSE(vocabulary.add_eos);
  EXPECT_EQ(vocabulary.unk_id, 0);
  EXPECT_EQ(vocabulary.bos_id, 1);
  EXPECT_EQ(vocabulary.eos_id, 2);
  EXPECT_EQ(vocabulary.pad_id, -1);
  const Json config = Json::parse(
      R"({"add_bos_token":false,"add_eos_token":true,"eos_token":{"content":"[/INST]"},
          "pad_token":"</s>"})");
  const Vocabulary configured = ReadTokenizerJson(json, &config, "config");
  EXPECT_FALSE(configured.add_bos);
  EXPECT_TRUE(configured.add_eos);
  EXPECT_EQ(configured.eos_id, 401);
  EXPECT_EQ(configured.pad_id, 2);
}

TEST(ReadTokenizerJson, FillsGapsAndNeverProducesWhatNoMergeMakes) {
  Json json = ConvertedJson(testing::TinyVocabulary(), true);
  json["model"]["vocab"]["therouterx"] = 405;
  const Vocabulary vocabulary = ReadTokenizerJson(json, nullptr, "gap");
  EXPECT_EQ(vocabulary.size(), 406);
  EXPECT_EQ(vocabulary.pieces[404].text, "[PAD404]");
  const Tokenizer tokenizer(vocabulary, "gap");
  for (const int32_t id : tokenizer.Encode("therouterx", DummyPrefix::kNone)) EXPECT_NE(id, 405);
  EXPECT_EQ(tokenizer.Decode({405}), "therouterx");
}

TEST(ReadTokenizerJson, RefusesWhatItCannotMean) {
  const Json good = ConvertedJson(testing::TinyVocabulary(), true);
  EXPECT_NO_THROW(ReadTokenizerJson(good, nullptr, "good"));
  const std::vector<std::function<void(Json&)>> faults = {
      [](Json& j) { j = Json::array(); },
      [](Json& j) { j.erase("model"); },
      [](Json& j) { j["model"]["type"] = "Unigram"; },
      [](Json& j) { j["model"]["vocab"] = 3; },
      [](Json& j) { j["model"]["vocab"]["q"] = -1; },
      [](Json& j) { j["model"]["vocab"]["q"] = 1 << 30; },
      [](Json& j) { j["model"]["vocab"]["q"] = 300; },
      [](Json& j) { j["model"]["vocab"]["q"] = "300"; },
      [](Json& j) { j["model"]["vocab"].erase("<0x0A>"); },
      [](Json& j) {
        j["model"]["vocab"].erase("<unk>");
        j["added_tokens"] = nullptr;
      },
      [](Json& j) { j["model"]["merges"] = nullptr; },
      [](Json& j) { j["model"]["merges"].push_back("a"); },
      [](Json& j) { j["model"]["merges"].push_back("a b c"); },
      [](Json& j) { j["model"]["merges"].push_back(Json::array({"a"})); },
      [](Json& j) {
        j["model"]["merges"].push_back(Json::array({"qq", "zz"}));
      },
      [](Json& j) { j["model"]["end_of_word_suffix"] = "</w>"; },
      [](Json& j) { j["added_tokens"].push_back(3); },
      [](Json& j) {
        j["added_tokens"].push_back({{"id", 1}, {"content", "<other>"}});
      },
      [](Json& j) {
        j["normalizer"] = {{"type", "NFKC"}};
      },
      [](Json& j) {
        j["normalizer"] = {{"type", "Prepend"}, {"prepend", "x"}};
      },
      [](Json& j) {
        j["normalizer"] = {{"type", "Sequence"}};
      },
      [](Json& j) {
        j["pre_tokenizer"] = {{"type", "ByteLevel"}};
      },
      [](Json& j) {
        j["pre_tokenizer"] = {{"type", "Metaspace"}, {"replacement", "_"}};
      },
      [](Json& j) { j["pre_tokenizer"] = Metaspace("sometimes"); },
  };
  for (size_t i = 0; i < faults.size(); ++i) {
    Json bad = good;
    faults[i](bad);
    EXPECT_THROW(ReadTokenizerJson(bad, nullptr, "bad"), Error) << i;
  }
}

}  // namespace
}  // namespace cadre
