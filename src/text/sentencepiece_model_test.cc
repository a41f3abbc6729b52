#include "text/sentencepiece_model.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/random.h"
#include "text/testing.h"

namespace cadre {
namespace {

Vocabulary Read(const std::string& model) {
  return ReadSentencePieceModel(std::as_bytes(std::span<const char>(model)), "test");
}

void ExpectSame(const Vocabulary& a, const Vocabulary& b) {
  ASSERT_EQ(a.pieces.size(), b.pieces.size());
  for (size_t id = 0; id < a.pieces.size(); ++id) {
    ASSERT_EQ(a.pieces[id].text, b.pieces[id].text) << id;
    ASSERT_EQ(a.pieces[id].score, b.pieces[id].score) << id;
    ASSERT_EQ(a.pieces[id].type, b.pieces[id].type) << id;
  }
  EXPECT_EQ(a.unk_id, b.unk_id);
  EXPECT_EQ(a.bos_id, b.bos_id);
  EXPECT_EQ(a.eos_id, b.eos_id);
  EXPECT_EQ(a.pad_id, b.pad_id);
  EXPECT_EQ(a.add_dummy_prefix, b.add_dummy_prefix);
  EXPECT_EQ(a.remove_extra_whitespaces, b.remove_extra_whitespaces);
  EXPECT_EQ(a.unk_surface, b.unk_surface);
}

TEST(SentencePieceModel, ReadsBackWhatItWrites) {
  Vocabulary vocabulary = testing::TinyInstructVocabulary(true);
  ExpectSame(Read(WriteSentencePieceModel(vocabulary)), vocabulary);
  vocabulary.add_dummy_prefix = false;
  vocabulary.remove_extra_whitespaces = true;
  vocabulary.pad_id = 402;
  ExpectSame(Read(WriteSentencePieceModel(vocabulary)), vocabulary);
}

TEST(SentencePieceModel, ReadsThePublishedFilesAsTheyAreDescribed) {
  CADRE_NEEDS_TEST_DATA();
  const int num_pieces[] = {32000, 32768, 32768};
  const int num_control[] = {2, 770, 750};
  const int num_user[] = {0, 0, 20};
  for (int version = 1; version <= 3; ++version) {
    const Vocabulary vocabulary = testing::PublishedVocabulary(version);
    EXPECT_EQ(vocabulary.size(), num_pieces[version - 1]);
    int control = 0;
    int user = 0;
    for (const Piece& piece : vocabulary.pieces) {
      control += piece.type == PieceType::kControl;
      user += piece.type == PieceType::kUserDefined;
    }
    EXPECT_EQ(control, num_control[version - 1]);
    EXPECT_EQ(user, num_user[version - 1]);
    EXPECT_EQ(vocabulary.unk_id, 0);
    EXPECT_EQ(vocabulary.bos_id, 1);
    EXPECT_EQ(vocabulary.eos_id, 2);
    EXPECT_EQ(vocabulary.pad_id, -1);
    EXPECT_TRUE(vocabulary.add_dummy_prefix);
    EXPECT_FALSE(vocabulary.remove_extra_whitespaces);
    EXPECT_EQ(vocabulary.unk_surface, " \xE2\x81\x87 ");
    ExpectSame(Read(WriteSentencePieceModel(vocabulary)), vocabulary);
  }
}

TEST(SentencePieceModel, RefusesOtherModelKinds) {
  const std::string good = WriteSentencePieceModel(testing::TinyVocabulary());
  // A later message of the same kind overrides: field 2 {3: 1} is a unigram model, field 3 {2: "x"}
  // normalises, field 3 {5: 0} keeps spaces as they are, field 2 {24: 1} puts them behind words.
  const std::string faults[] = {{"\x12\x02\x18\x01", 4},
                                {"\x1a\x03\x12\x01x", 5},
                                {"\x1a\x02\x28\x00", 4},
                                {"\x12\x03\xc0\x01\x01", 5}};
  for (const std::string& fault : faults) EXPECT_THROW(Read(good + fault), Error);
  EXPECT_THROW(Read(""), Error);
}

TEST(SentencePieceModel, EndsEveryCutAndDamagedFileInAVocabularyOrAnError) {
  const std::string good = WriteSentencePieceModel(testing::TinyVocabulary());
  for (size_t size = 0; size < good.size(); size += 7) {
    try {
      Read(good.substr(0, size));
    } catch (const Error&) {
    }
  }
  Random random(7);
  for (int round = 0; round < 3000; ++round) {
    std::string bad = good;
    for (uint64_t i = 0; i <= random.NextBelow(4); ++i)
      bad[random.NextBelow(bad.size())] = static_cast<char>(random.NextU64());
    try {
      const Vocabulary vocabulary = Read(bad);
      if (round % 50 == 0) Tokenizer(vocabulary, "damaged").Encode("some text");
    } catch (const Error&) {
    }
  }
}

TEST(SentencePieceModel, RefusesBrokenWireFormat) {
  const std::string faults[] = {
      std::string(11, '\xff'),                               // an endless varint
      {"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11},  // a piece of 2^64-1 bytes
      {"\x0b\x0c", 2},                                       // a group
      {"\x02\x00", 2},                                       // field number 0
      {"\x0a\x02\x08\x01", 4},                               // a number for a text
      {"\x0a\x02\x18\x09", 4},                               // a piece of type 9
  };
  for (const std::string& fault : faults) EXPECT_THROW(Read(fault), Error);
}

}  // namespace
}  // namespace cadre
