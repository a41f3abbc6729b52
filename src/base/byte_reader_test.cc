#include "base/byte_reader.h"

#include <gtest/gtest.h>

#include <array>

namespace cadre {
namespace {

TEST(ByteReader, ReadsLittleEndianInOrder) {
  const std::array<unsigned char, 7> raw = {0x34, 0x12, 0x78, 0x56, 0x34, 0x12, 'x'};
  ByteReader reader(std::as_bytes(std::span(raw)), "file");
  EXPECT_EQ(reader.Read<uint16_t>("a"), 0x1234);
  EXPECT_EQ(reader.Read<uint32_t>("b"), 0x12345678u);
  EXPECT_EQ(reader.TakeText(1, "c"), "x");
  EXPECT_EQ(reader.remaining(), 0u);
}

TEST(ByteReader, RefusesToReadPastTheEndAndNamesWhat) {
  const std::array<std::byte, 3> raw{};
  ByteReader reader(raw, "file");
  try {
    reader.Read<uint32_t>("magic");
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "file: magic at byte 0 needs 4 bytes, but only 3 are left");
  }
  EXPECT_THROW(reader.Take(UINT64_MAX, "huge"), Error);
  EXPECT_EQ(reader.remaining(), 3u);
}

TEST(ByteReader, RefusesCountsThatCannotFit) {
  const std::array<std::byte, 16> raw{};
  const ByteReader reader(raw, "file");
  EXPECT_NO_THROW(reader.ExpectRoomFor(4, 4, "n"));
  EXPECT_THROW(reader.ExpectRoomFor(5, 4, "n"), Error);
  EXPECT_THROW(reader.ExpectRoomFor(UINT64_MAX, 4, "n"), Error);
}

TEST(Checked, OverflowIsAnError) {
  EXPECT_EQ(CheckedMul(3, 4, "x"), 12u);
  EXPECT_THROW(CheckedMul(UINT64_MAX, 2, "x"), Error);
  EXPECT_THROW(CheckedAdd(UINT64_MAX, 1, "x"), Error);
}

TEST(Printable, EscapesWhatATerminalWouldObey) {
  EXPECT_EQ(Printable("a\x1b[2J\n"), "a\\x1b[2J\\x0a");
  EXPECT_EQ(Printable("aaaa", 2), "aa...");
}

}  // namespace
}  // namespace cadre
