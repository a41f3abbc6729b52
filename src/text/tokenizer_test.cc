#include "text/tokenizer.h"

#include <gtest/gtest.h>
#include <sentencepiece_processor.h>

#include "base/error.h"
#include "base/json.h"
#include "base/random.h"
#include "text/testing.h"
#include "text/utf8.h"

namespace cadre {
namespace {

using Ids = std::vector<int32_t>;

std::string FromHex(const std::string& hex) {
  std::string bytes;
  for (size_t i = 0; i < hex.size(); i += 2)
    bytes.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  return bytes;
}

TEST(Tokenizer, MakesThePublishedIds) {
  CADRE_NEEDS_TEST_DATA();
  const Json vectors = testing::Vectors();
  const Tokenizer v1 = testing::PublishedTokenizer(1);
  const Tokenizer v2 = testing::PublishedTokenizer(2);
  const Tokenizer v3 = testing::PublishedTokenizer(3);
  for (const Json& entry : vectors.at("raw_text")) {
    const auto text = entry.at("text").get<std::string>();
    const auto ids = entry.at("v1").get<Ids>();
    EXPECT_EQ(v1.Encode(text), ids) << text;
    EXPECT_EQ(v3.Encode(text), entry.at("v3").get<Ids>()) << text;
    Ids shifted = ids;
    for (int32_t& id : shifted) id += id > 2 ? 768 : 0;
    EXPECT_EQ(v2.Encode(text), shifted) << text;
    EXPECT_EQ(v1.Decode(ids), entry.value("decode_v1", text));
  }
}

TEST(Tokenizer, ReplacesMalformedBytesAsPublished) {
  CADRE_NEEDS_TEST_DATA();
  const Tokenizer tokenizer = testing::PublishedTokenizer(1);
  const Json vectors = testing::Vectors();
  for (const Json& entry : vectors.at("malformed_utf8")) {
    const auto hex = entry.at("bytes_hex").get<std::string>();
    EXPECT_EQ(tokenizer.Encode(FromHex(hex)), entry.at("v1").get<Ids>()) << hex;
  }
}

TEST(Tokenizer, DecodesOddIdsAsPublished) {
  CADRE_NEEDS_TEST_DATA();
  const Tokenizer tokenizer = testing::PublishedTokenizer(1);
  const Json vectors = testing::Vectors();
  for (const Json& entry : vectors.at("decode_odd")) {
    EXPECT_EQ(tokenizer.Decode(entry.at("ids_v1").get<Ids>()), entry.at("text").get<std::string>())
        << entry.dump();
  }
}

TEST(Tokenizer, GivesThePublishedBytesOfEachToken) {
  CADRE_NEEDS_TEST_DATA();
  const Tokenizer tokenizer = testing::PublishedTokenizer(1);
  const Json vectors = testing::Vectors();
  for (const Json& entry : vectors.at("streaming")) {
    const auto ids = entry.at("ids_v1").get<Ids>();
    const auto hex = entry.at("token_bytes_hex").get<std::vector<std::string>>();
    ASSERT_EQ(ids.size(), hex.size());
    for (size_t i = 0; i < ids.size(); ++i)
      EXPECT_EQ(tokenizer.PieceBytes(ids[i]), FromHex(hex[i]));
  }
}

// The library itself, fed the published model unchanged.
TEST(Tokenizer, AgreesWithTheLibraryOnRandomTextAndRandomIds) {
  CADRE_NEEDS_TEST_DATA();
  for (const int version : {1, 3}) {
    const Tokenizer tokenizer = testing::PublishedTokenizer(version);
    const std::string file =
        *testing::TokenizerFolder() + (version == 1 ? "mistral_tokenizer.model.v1"
                                                    : "mistral_instruct_tokenizer_240323.model.v3");
    sentencepiece::SentencePieceProcessor library;
    ASSERT_TRUE(library.Load(file).ok());
    Random random(static_cast<uint64_t>(version));
    const std::string alphabet[] = {" ",
                                    "  ",
                                    "\n",
                                    "a",
                                    "b",
                                    "th",
                                    "e",
                                    "1",
                                    "\xC3\xA9",
                                    "\xE2\x96\x81",
                                    "\xF0\x9F\x99\x82",
                                    "\xFF",
                                    "<s>",
                                    "[INST]",
                                    "[REFERENCE_DOC_1]",
                                    "[REFERENCE_DOC_",
                                    "19]",
                                    ".",
                                    "\t",
                                    "\r"};
    for (int round = 0; round < 2000; ++round) {
      std::string text;
      for (uint64_t i = random.NextBelow(40); i > 0; --i)
        text += alphabet[random.NextBelow(std::size(alphabet))];
      ASSERT_EQ(tokenizer.Encode(text), library.EncodeAsIds(text)) << text;
      Ids ids;
      for (uint64_t i = random.NextBelow(30); i > 0; --i) {
        const uint64_t bound =
            random.NextBelow(2) == 0 ? 1100 : static_cast<uint64_t>(tokenizer.vocab_size());
        ids.push_back(static_cast<int32_t>(random.NextBelow(bound)));
      }
      ASSERT_EQ(tokenizer.Decode(ids), library.DecodeIds(ids)) << Json(ids).dump();
    }
  }
}

TEST(Tokenizer, RoundTripsTextThroughATinyVocabulary) {
  const Tokenizer tokenizer(testing::TinyVocabulary(), "tiny");
  for (const std::string& text : testing::HardTexts()) {
    if (text.find(kSpaceSymbol) != std::string::npos)
      continue;  // indistinguishable from a space once encoded
    EXPECT_EQ(tokenizer.Decode(tokenizer.Encode(text)), text);
  }
  EXPECT_TRUE(tokenizer.Encode("").empty());
  EXPECT_EQ(tokenizer.Decode({}), "");
}

TEST(Tokenizer, NeverMakesControlOrUnknownPiecesFromText) {
  const Tokenizer tokenizer(testing::TinyInstructVocabulary(true), "tiny");
  for (int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
    for (const int32_t made : tokenizer.Encode(tokenizer.PieceText(id))) {
      EXPECT_FALSE(tokenizer.IsControl(made)) << id;
      EXPECT_NE(made, tokenizer.vocabulary().unk_id) << id;
    }
  }
}

TEST(Tokenizer, NeverMakesAControlPieceThatIsNamedLikeACharacter) {
  Vocabulary vocabulary = testing::TinyVocabulary();
  vocabulary.pieces.push_back({"\xC3\x9F\xC3\x9F", 0, PieceType::kControl});
  vocabulary.pieces.push_back({std::string(kReplacementCharacter), 0, PieceType::kControl});
  const Tokenizer tokenizer(vocabulary, "control characters");
  for (const int32_t id : tokenizer.Encode("\xFF \xC3\x9F\xC3\x9F")) EXPECT_LT(id, 400);
}

TEST(Tokenizer, ContinuesTextWithoutThePrefix) {
  const Tokenizer tokenizer(testing::TinyVocabulary(), "tiny");
  std::string bytes;
  for (const int32_t id : tokenizer.Encode("the router", DummyPrefix::kNone))
    bytes += tokenizer.PieceBytes(id);
  EXPECT_EQ(bytes, "the router");
  EXPECT_EQ(tokenizer.Encode(" the", DummyPrefix::kNone), tokenizer.Encode("the"));
}

TEST(Tokenizer, CutsLongTextOnlyWhereIdsStayTheSame) {
  const Tokenizer tokenizer(testing::TinyVocabulary(), "tiny");
  sentencepiece::SentencePieceProcessor library;
  ASSERT_TRUE(
      library.LoadFromSerializedProto(WriteSentencePieceModel(tokenizer.vocabulary())).ok());
  Random random(3);
  std::string text;
  while (text.size() < 400000)
    text += testing::TinyCorpus()[random.NextBelow(testing::TinyCorpus().size())];
  EXPECT_EQ(tokenizer.Encode(text), library.EncodeAsIds(text));
  const std::string spaces(200001, ' ');
  EXPECT_EQ(tokenizer.Encode(spaces), library.EncodeAsIds(spaces));
}

TEST(Tokenizer, TakesManyMegabytes) {
  const Tokenizer tokenizer(testing::TinyVocabulary(), "tiny");
  std::string text;
  while (text.size() < (size_t{6} << 20)) text += testing::TinyCorpus()[0];
  EXPECT_EQ(tokenizer.Decode(tokenizer.Encode(text)), text);
  const std::string word(size_t{5} << 20, 'e');
  EXPECT_EQ(tokenizer.Decode(tokenizer.Encode(word)), word);
}

TEST(Tokenizer, MatchesUserDefinedPiecesFirstAndLongest) {
  Vocabulary vocabulary = testing::TinyVocabulary();
  for (const char* text : {"routerx", "routerxy", "a\xE2\x96\x81z"})
    vocabulary.pieces.push_back({text, 0, PieceType::kUserDefined});
  const Tokenizer tokenizer(vocabulary, "tiny");
  const Ids around = tokenizer.Encode("the ");
  Ids expected = around;
  expected.push_back(401);
  EXPECT_EQ(tokenizer.Encode("the routerxy"), expected);
  EXPECT_EQ(tokenizer.Encode("routerxrouterxy", DummyPrefix::kNone), (Ids{400, 401}));
  EXPECT_EQ(tokenizer.Encode("a z", DummyPrefix::kNone), Ids{402});
  EXPECT_EQ(tokenizer.Decode(tokenizer.Encode("the routerxyz a z")), "the routerxyz a z");
}

TEST(Tokenizer, TakesHundredsOfNestedUserDefinedPieces) {
  Vocabulary vocabulary = testing::TinyVocabulary();
  for (size_t size = 3; size < 900; ++size)
    vocabulary.pieces.push_back({std::string(size, 'q'), 0, PieceType::kUserDefined});
  const Tokenizer tokenizer(vocabulary, "nested");
  EXPECT_EQ(tokenizer.Encode(std::string(899, 'q'), DummyPrefix::kNone),
            Ids{vocabulary.size() - 1});
}

TEST(Tokenizer, TrimsSpacesWhereTheVocabularySaysSo) {
  Vocabulary vocabulary = testing::TinyVocabulary();
  vocabulary.remove_extra_whitespaces = true;
  const Tokenizer tokenizer(vocabulary, "trimming");
  EXPECT_EQ(tokenizer.Encode("  the   router "), tokenizer.Encode("the router"));
  EXPECT_TRUE(tokenizer.Encode("   ").empty());
}

TEST(Tokenizer, FallsBackToUnknownWithoutBytePieces) {
  Vocabulary vocabulary = testing::TinyVocabulary();
  std::erase_if(vocabulary.pieces,
                [](const Piece& piece) { return piece.type == PieceType::kByte; });
  const Tokenizer tokenizer(vocabulary, "no bytes");
  const Ids ids = tokenizer.Encode("the \xF0\x9F\x99\x82\xF0\x9F\x99\x82 router");
  EXPECT_EQ(std::count(ids.begin(), ids.end(), 0), 1);
  EXPECT_EQ(tokenizer.Decode({0}), vocabulary.unk_surface);
}

TEST(Tokenizer, RefusesIdsOutOfRange) {
  const Tokenizer tokenizer(testing::TinyVocabulary(), "tiny");
  for (const int32_t id : {-1, 400, INT32_MAX, INT32_MIN}) {
    EXPECT_THROW(tokenizer.Decode({id}), Error);
    EXPECT_THROW(tokenizer.PieceText(id), Error);
    EXPECT_THROW(tokenizer.PieceBytes(id), Error);
    EXPECT_THROW(tokenizer.IsControl(id), Error);
  }
  EXPECT_FALSE(tokenizer.FindPiece("[INST]").has_value());
  EXPECT_EQ(tokenizer.FindPiece("<s>"), 1);
}

}  // namespace
}  // namespace cadre
