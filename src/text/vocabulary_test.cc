#include "text/vocabulary.h"

#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "base/error.h"
#include "text/testing.h"

namespace cadre {
namespace {

struct Arrays {
  std::vector<std::string> text;
  std::vector<float> scores;
  std::vector<int32_t> types;

  explicit Arrays(const Vocabulary& vocabulary) {
    for (const Piece& piece : vocabulary.pieces)
      Add(piece.text, piece.score, static_cast<int32_t>(piece.type));
  }
  void Add(std::string piece, float score, int32_t type) {
    text.push_back(std::move(piece));
    scores.push_back(score);
    types.push_back(type);
  }
  Vocabulary Make() const {
    const std::vector<std::string_view> views(text.begin(), text.end());
    return VocabularyFromArrays({.pieces = views, .scores = scores, .types = types}, "arrays");
  }
};

TEST(VocabularyFromArrays, GivesTheSameIdsAsTheModelItCameFrom) {
  Arrays arrays(testing::TinyVocabulary());
  arrays.Add("[PAD400]", -10000.0f, 5);
  arrays.Add("[PAD401]", -10000.0f, 5);
  const Tokenizer tokenizer(arrays.Make(), "arrays");
  const Tokenizer original(testing::TinyVocabulary(), "tiny");
  for (const std::string& text : testing::HardTexts())
    EXPECT_EQ(tokenizer.Encode(text), original.Encode(text)) << text;
  EXPECT_EQ(tokenizer.vocab_size(), 402);
  EXPECT_EQ(tokenizer.PieceText(401), "[PAD401]");
}

TEST(VocabularyFromArrays, MakesNamedIdsControlWhateverTheirTypeSays) {
  Arrays arrays(testing::TinyVocabulary());
  arrays.types[0] = arrays.types[1] = arrays.types[2] = 1;
  const Vocabulary vocabulary = arrays.Make();
  EXPECT_EQ(vocabulary.pieces[0].type, PieceType::kUnknown);
  EXPECT_EQ(vocabulary.pieces[1].type, PieceType::kControl);
  EXPECT_EQ(vocabulary.pieces[2].type, PieceType::kControl);
}

TEST(VocabularyFromArrays, ReservesInstructNamesInLargeVocabulariesOnly) {
  Arrays arrays(testing::TinyVocabulary());
  for (const char* name : {"[INST]", "[/INST]", "[TOOL_CALLS]", "[control_8]", "[control_x]"})
    arrays.Add(name, 0, 1);
  EXPECT_EQ(arrays.Make().pieces[400].type, PieceType::kNormal);
  while (arrays.text.size() < 32768)
    arrays.Add(fmt::format("[PAD{}]", arrays.text.size()), -10000.0f, 5);
  const Vocabulary vocabulary = arrays.Make();
  for (const size_t id : {400u, 401u, 402u, 403u})
    EXPECT_EQ(vocabulary.pieces[id].type, PieceType::kControl) << id;
  EXPECT_EQ(vocabulary.pieces[404].type, PieceType::kNormal);
}

TEST(VocabularyFromArrays, RefusesUnequalLengthsAndBadTypes) {
  Arrays arrays(testing::TinyVocabulary());
  Arrays short_scores = arrays;
  short_scores.scores.pop_back();
  EXPECT_THROW(short_scores.Make(), Error);
  for (const int32_t type : {0, -1, 7, 1000}) {
    Arrays bad = arrays;
    bad.types[300] = type;
    EXPECT_THROW(bad.Make(), Error) << type;
  }
}

TEST(ValidateVocabulary, RefusesWhatSentencepieceCannotMean) {
  const Vocabulary good = testing::TinyVocabulary();
  EXPECT_NO_THROW(ValidateVocabulary(good, "good"));
  const std::vector<std::function<void(Vocabulary&)>> faults = {
      [](Vocabulary& v) { v.pieces.clear(); },
      [](Vocabulary& v) { v.pieces[300].text.clear(); },
      [](Vocabulary& v) { v.pieces[300].text = v.pieces[301].text; },
      [](Vocabulary& v) { v.pieces[300].text = std::string("\xff"); },
      [](Vocabulary& v) { v.pieces[300].text = std::string("a\0b", 3); },
      [](Vocabulary& v) { v.pieces[300].text.assign(2000, 'x'); },
      [](Vocabulary& v) { v.pieces[300].score = std::numeric_limits<float>::quiet_NaN(); },
      [](Vocabulary& v) { v.pieces[300].score = std::numeric_limits<float>::infinity(); },
      [](Vocabulary& v) { v.pieces[300].type = PieceType::kByte; },
      [](Vocabulary& v) { v.pieces[300].type = PieceType::kUnknown; },
      [](Vocabulary& v) { v.pieces[10].text = std::string("<0xzz>"); },
      [](Vocabulary& v) { v.pieces[10].text = std::string("<0x0a>"); },
      [](Vocabulary& v) { v.pieces[10].type = PieceType::kNormal; },
      [](Vocabulary& v) { v.bos_id = v.size(); },
      [](Vocabulary& v) { v.eos_id = -2; },
      [](Vocabulary& v) { v.unk_id = -1; },
  };
  for (size_t i = 0; i < faults.size(); ++i) {
    Vocabulary bad = good;
    faults[i](bad);
    EXPECT_THROW(ValidateVocabulary(bad, "bad"), Error) << i;
    EXPECT_THROW(Tokenizer(bad, "bad"), Error) << i;
  }
}

TEST(ByteOfPiece, IsStrict) {
  for (int byte = 0; byte < 256; ++byte) {
    EXPECT_EQ(ByteOfPiece(PieceOfByte(static_cast<uint8_t>(byte))), static_cast<uint8_t>(byte));
  }
  for (const char* text : {"", "<0x0>", "<0x0a>", "<0x00", "0x00>>", "<0X00>", "<0x000>"})
    EXPECT_FALSE(ByteOfPiece(text));
}

}  // namespace
}  // namespace cadre
