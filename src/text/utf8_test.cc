#include "text/utf8.h"

#include <gtest/gtest.h>

namespace cadre {
namespace {

std::string Encoded(uint32_t c) {
  if (c < 0x80) return {static_cast<char>(c)};
  if (c < 0x800) return {static_cast<char>(0xC0 | c >> 6), static_cast<char>(0x80 | (c & 63))};
  if (c < 0x10000) {
    return {static_cast<char>(0xE0 | c >> 12), static_cast<char>(0x80 | (c >> 6 & 63)),
            static_cast<char>(0x80 | (c & 63))};
  }
  return {static_cast<char>(0xF0 | c >> 18), static_cast<char>(0x80 | (c >> 12 & 63)),
          static_cast<char>(0x80 | (c >> 6 & 63)), static_cast<char>(0x80 | (c & 63))};
}

TEST(DecodeUtf8, ReadsEveryCharacterAndSeesEachPrefixAsIncomplete) {
  for (uint32_t c = 0; c <= 0x10FFFF; ++c) {
    const std::string bytes = Encoded(c);
    const Utf8Step step = DecodeUtf8(bytes);
    if (c >= 0xD800 && c <= 0xDFFF) {
      ASSERT_EQ(step.status, Utf8Status::kInvalid) << c;
      continue;
    }
    ASSERT_EQ(step.status, Utf8Status::kValid) << c;
    ASSERT_EQ(step.code_point, c);
    ASSERT_EQ(step.num_bytes, bytes.size());
    for (size_t size = 1; size < bytes.size(); ++size) {
      ASSERT_EQ(DecodeUtf8(bytes.substr(0, size)).status, Utf8Status::kIncomplete)
          << c << " " << size;
    }
  }
}

TEST(ReplaceInvalidUtf8, GivesOneReplacementPerOffendingByte) {
  const std::string r(kReplacementCharacter);
  EXPECT_EQ(ReplaceInvalidUtf8("a\xff\xc3"
                               "b"),
            "a" + r + r + "b");
  EXPECT_EQ(ReplaceInvalidUtf8("\xf0\x9f"), r + r);
  EXPECT_EQ(ReplaceInvalidUtf8("\xc0\x80"), r + r);
  EXPECT_EQ(ReplaceInvalidUtf8("\xed\xa0\x80"), r + r + r);
  EXPECT_EQ(ReplaceInvalidUtf8("\xf4\x90\x80\x80"), r + r + r + r);
  EXPECT_EQ(ReplaceInvalidUtf8("\xe2\x91\xa0"), "\xe2\x91\xa0");
}

}  // namespace
}  // namespace cadre
