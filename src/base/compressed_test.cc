#include "base/compressed.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <string>

#include "base/atomic_file.h"
#include "base/random.h"
#include "base/testing.h"

namespace cadre {
namespace {

using base_testing::ErrorOf;
using ::testing::HasSubstr;

std::string Gzipped(std::string text) {
  z_stream stream = {};
  if (deflateInit2(&stream, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK)
    throw std::bad_alloc();
  std::string out(deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(text.data());
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

std::string Letters(size_t size) {
  Random random(size);
  std::string text;
  while (text.size() < size) text.push_back(static_cast<char>('a' + random.NextBelow(26)));
  return text;
}

class Compressed : public ::testing::Test {
 protected:
  std::string Read(const std::string& bytes) const {
    const std::string path = folder_ / "a.txt.gz";
    WriteFileAtomically(path, bytes);
    std::string text;
    ReadPieces(MappedFile(path), [&](std::string_view piece) { text += piece; });
    return text;
  }
  base_testing::TempFolder folder_;
};

TEST_F(Compressed, NamesLoseOneEnding) {
  EXPECT_EQ(UncompressedName("a/b.jsonl.gz"), "a/b.jsonl");
  EXPECT_EQ(UncompressedName("b.zst"), "b");
  EXPECT_EQ(UncompressedName("b.gz.zst"), "b.gz");
  EXPECT_EQ(UncompressedName("gz"), "gz");
}

TEST_F(Compressed, GzipOfAnySizeIsRead) {
  for (const size_t size : {size_t{0}, size_t{1}, size_t{65535}, size_t{65536}, size_t{200'000}}) {
    EXPECT_EQ(Read(Gzipped(Letters(size))), Letters(size)) << size;
    EXPECT_EQ(Read(Gzipped(std::string(size, 'z'))), std::string(size, 'z')) << size;
  }
  EXPECT_EQ(Read(""), "");
}

TEST_F(Compressed, MembersBehindEachOtherAreOneText) {
  EXPECT_EQ(Read(Gzipped("one ") + Gzipped("") + Gzipped("two")), "one two");
}

TEST_F(Compressed, EveryTruncationOfGzipIsRefused) {
  const std::string whole = Gzipped(Letters(3000));
  for (size_t size = 1; size < whole.size(); size += size < 40 || size > whole.size() - 40 ? 1 : 97)
    EXPECT_THAT(ErrorOf([&] { Read(whole.substr(0, size)); }), HasSubstr("ends in the middle"))
        << size;
}

TEST_F(Compressed, WhatIsNoGzipIsRefused) {
  EXPECT_THAT(ErrorOf([&] { Read("plain text, not compressed"); }), HasSubstr("not valid gzip"));
  EXPECT_THAT(ErrorOf([&] { Read(Gzipped("good") + "garbage"); }), HasSubstr("not valid gzip"));
  std::string changed = Gzipped(Letters(3000));
  changed[changed.size() - 8] ^= 1;  // of the check sum
  EXPECT_THAT(ErrorOf([&] { Read(changed); }), HasSubstr("not valid gzip"));
}

}  // namespace
}  // namespace cadre
