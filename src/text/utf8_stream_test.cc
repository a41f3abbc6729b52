#include "text/utf8_stream.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/random.h"
#include "text/testing.h"
#include "text/utf8.h"

namespace cadre {
namespace {

// One tokenizer for all rounds: ids 3..258 are the bytes.
void ExpectWholeCharactersOnly(const Tokenizer& tokenizer, int32_t byte_begin) {
  Random random(11);
  for (int round = 0; round < 5000; ++round) {
    std::vector<int32_t> ids;
    for (uint64_t i = random.NextBelow(24); i > 0; --i) {
      switch (random.NextBelow(3)) {
        case 0:
          ids.push_back(static_cast<int32_t>(
              random.NextBelow(static_cast<uint64_t>(tokenizer.vocab_size()))));
          break;
        case 1:
          ids.push_back(byte_begin + static_cast<int32_t>(random.NextBelow(256)));
          break;
        default:  // the bytes of a long character, perhaps cut
          for (const char c : std::string("\xF0\x9F\x99\x82").substr(0, 1 + random.NextBelow(4))) {
            ids.push_back(byte_begin + static_cast<unsigned char>(c));
          }
      }
    }
    Utf8Stream stream(tokenizer, LeadingSpace::kStrip);
    std::string text;
    for (const int32_t id : ids) {
      const std::string chunk = stream.Push(id);
      ASSERT_TRUE(IsValidUtf8(chunk));
      text += chunk;
    }
    text += stream.Flush();
    ASSERT_TRUE(IsValidUtf8(text));
    ASSERT_EQ(text, tokenizer.Decode(ids));
    ASSERT_EQ(stream.Flush(), "");
  }
}

TEST(Utf8Stream, EmitsWholeCharactersThatAddUpToDecode) {
  ExpectWholeCharactersOnly(Tokenizer(testing::TinyInstructVocabulary(true), "tiny"), 3);
}

TEST(Utf8Stream, EmitsWholeCharactersOfThePublishedVocabularies) {
  CADRE_NEEDS_TEST_DATA();
  ExpectWholeCharactersOnly(testing::PublishedTokenizer(1), 3);
  ExpectWholeCharactersOnly(testing::PublishedTokenizer(3), 771);
}

TEST(Utf8Stream, GivesAGroupOfBytesAsSoonAsItIsOneCharacter) {
  const Tokenizer tokenizer(testing::TinyVocabulary(), "tiny");
  Utf8Stream stream(tokenizer, LeadingSpace::kStrip);
  EXPECT_EQ(stream.Push(3 + 0xE2), "");
  EXPECT_EQ(stream.Push(3 + 0x91), "");
  EXPECT_EQ(stream.Push(3 + 0xA0), "\xE2\x91\xA0");
  EXPECT_EQ(stream.Push(3 + 0xE2), "");
  // A byte that cannot follow settles the held one at once.
  EXPECT_EQ(stream.Push(3 + 'x'), std::string(kReplacementCharacter) + "x");
  EXPECT_EQ(stream.Push(3 + 0xF0), "");
  EXPECT_EQ(stream.Flush(), kReplacementCharacter);
}

TEST(Utf8Stream, DropsOneLeadingSpaceAtTheStartOnly) {
  const Tokenizer tokenizer(testing::TinyVocabulary(), "tiny");
  const int32_t space = *tokenizer.FindPiece(kSpaceSymbol);
  Utf8Stream start(tokenizer, LeadingSpace::kStrip);
  EXPECT_EQ(start.Push(tokenizer.bos_id()), "");
  EXPECT_EQ(start.Push(space), "");
  EXPECT_EQ(start.Push(space), " ");
  Utf8Stream after_byte(tokenizer, LeadingSpace::kStrip);
  EXPECT_EQ(after_byte.Push(3 + 'x'), "x");
  EXPECT_EQ(after_byte.Push(space), " ");
  Utf8Stream continuation(tokenizer, LeadingSpace::kKeep);
  EXPECT_EQ(continuation.Push(space), " ");
}

TEST(Utf8Stream, RefusesIdsOutOfRange) {
  const Tokenizer tokenizer(testing::TinyVocabulary(), "tiny");
  Utf8Stream stream(tokenizer, LeadingSpace::kStrip);
  EXPECT_THROW(stream.Push(-1), Error);
  EXPECT_THROW(stream.Push(400), Error);
}

}  // namespace
}  // namespace cadre
