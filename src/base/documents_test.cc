#include "base/documents.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zstd.h>

#include "base/atomic_file.h"
#include "base/random.h"
#include "base/testing.h"

namespace cadre {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string Compressed(const std::string& text) {
  std::string out(ZSTD_compressBound(text.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), text.data(), text.size(), 1));
  return out;
}

class Documents : public ::testing::Test {
 protected:
  std::vector<std::string> ReadFile(const std::string& name) const {
    std::vector<std::string> documents;
    ReadDocuments(folder_ / name, [&](std::string text) { documents.push_back(std::move(text)); });
    return documents;
  }
  std::vector<std::string> Read(const std::string& name, const std::string& bytes) const {
    WriteFileAtomically(folder_ / name, bytes);
    return ReadFile(name);
  }
  std::string FileError(const std::string& name) const {
    return base_testing::ErrorOf([&] { ReadFile(name); });
  }
  std::string ReadError(const std::string& name, const std::string& bytes) const {
    WriteFileAtomically(folder_ / name, bytes);
    return FileError(name);
  }

  base_testing::TempFolder folder_;
};

TEST_F(Documents, ATextFileIsOneDocument) {
  EXPECT_THAT(Read("a.txt", "one\ntwo\n\n"), ElementsAre("one\ntwo\n\n"));
  EXPECT_THAT(Read("a.txt.zst", Compressed("one\ntwo")), ElementsAre("one\ntwo"));
  EXPECT_THAT(Read("a.txt", ""), IsEmpty());
  EXPECT_THAT(Read("a.txt.zst", Compressed("")), IsEmpty());
}

TEST_F(Documents, ALineOfJsonIsOneDocument) {
  const std::string lines =
      "{\"text\": \"one\\ntwo\", \"id\": 7}\n{\"text\":\"three\"}\r\n{\"text\":\"no newline\"}";
  EXPECT_THAT(Read("a.jsonl", lines), ElementsAre("one\ntwo", "three", "no newline"));
  EXPECT_THAT(Read("a.jsonl.zst", Compressed(lines)),
              ElementsAre("one\ntwo", "three", "no newline"));
}

TEST_F(Documents, EmptyLinesAndTextsArePassedOver) {
  EXPECT_THAT(
      Read("a.jsonl", "\n{\"text\":\"a\"}\n\n  \t\r\n{\"text\":\"\"}\n{\"text\":\"b\"}\n\n"),
      ElementsAre("a", "b"));
  EXPECT_THAT(Read("a.jsonl", ""), IsEmpty());
}

TEST_F(Documents, LinesLongerThanAPieceOfTheDecoderAreWhole) {
  Random random(1);
  std::string lines;
  std::vector<std::string> expected;
  for (const size_t size : {size_t{1}, ZSTD_DStreamOutSize() - 12, ZSTD_DStreamOutSize(),
                            3 * ZSTD_DStreamOutSize() + 5}) {
    std::string text;
    while (text.size() < size) text.push_back(static_cast<char>('a' + random.NextBelow(26)));
    lines += "{\"text\":\"" + text + "\"}\n";
    expected.push_back(text);
  }
  EXPECT_EQ(Read("a.jsonl.zst", Compressed(lines)), expected);
}

TEST_F(Documents, FramesBehindEachOtherAreOneText) {
  EXPECT_THAT(Read("a.txt.zst", Compressed("one ") + Compressed("") + Compressed("two")),
              ElementsAre("one two"));
}

// The decoder's output buffer is full exactly when the text ends, or just before.
TEST_F(Documents, TextsOfWholePiecesEndWell) {
  for (const size_t size :
       {ZSTD_DStreamOutSize() - 1, ZSTD_DStreamOutSize(), 2 * ZSTD_DStreamOutSize()}) {
    Random random(size);
    std::string text;
    while (text.size() < size) text.push_back(static_cast<char>('a' + random.NextBelow(26)));
    EXPECT_THAT(Read("a.txt.zst", Compressed(text)), ElementsAre(text));
    const std::string zeros(size, 'z');
    EXPECT_THAT(Read("a.txt.zst", Compressed(zeros)), ElementsAre(zeros));
  }
}

TEST_F(Documents, EveryTruncationOfAFrameIsRefused) {
  std::string text;
  Random random(2);
  while (text.size() < 3000) text.push_back(static_cast<char>('a' + random.NextBelow(26)));
  const std::string whole = Compressed(text);
  for (size_t size = 1; size < whole.size(); size += size < 40 ? 1 : 97) {
    EXPECT_THAT(ReadError("a.txt.zst", whole.substr(0, size)),
                HasSubstr("a.txt.zst: zstd data ends in the middle"))
        << size;
  }
}

TEST_F(Documents, WhatIsNoZstdIsRefused) {
  EXPECT_THAT(ReadError("a.txt.zst", "plain text, not compressed"),
              HasSubstr("a.txt.zst: not valid zstd"));
  EXPECT_THAT(ReadError("a.txt.zst", Compressed("good") + "garbage"),
              HasSubstr("a.txt.zst: not valid zstd"));
}

TEST_F(Documents, BadLinesAreNamedByNumber) {
  const std::string good = "{\"text\":\"a\"}\n\n";  // the empty line counts
  EXPECT_THAT(ReadError("a.jsonl", good + "{\"text\":\n"), HasSubstr("a.jsonl:3: not valid JSON"));
  EXPECT_THAT(ReadError("a.jsonl", good + "{\"txt\":\"b\"}\n"),
              HasSubstr("a.jsonl:3: has no member \"text\""));
  EXPECT_THAT(ReadError("a.jsonl", good + "[1]\n"), HasSubstr("a.jsonl:3: has no member \"text\""));
  EXPECT_THAT(ReadError("a.jsonl", good + "{\"text\": 5}\n"),
              AllOf(HasSubstr("a.jsonl:3: text is 5"), HasSubstr("string")));
  EXPECT_THAT(ReadError("a.jsonl", "{\"text\":\"a\"} x"), HasSubstr("a.jsonl:1: not valid JSON"));
  EXPECT_THAT(ReadError("a.jsonl.zst", Compressed(good + "nonsense")),
              HasSubstr("a.jsonl.zst:3: not valid JSON"));
}

TEST_F(Documents, OtherEndingsAndAbsentFilesAreRefused) {
  EXPECT_THAT(ReadError("a.csv", "x"), HasSubstr("must end in .txt or .jsonl"));
  EXPECT_THAT(ReadError("a.zst", "x"), HasSubstr("must end in .txt or .jsonl"));
  EXPECT_THAT(FileError("none.txt"), HasSubstr("none.txt"));
}

}  // namespace
}  // namespace cadre
