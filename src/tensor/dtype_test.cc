#include "tensor/dtype.h"

#include <gtest/gtest.h>

namespace cadre {
namespace {

TEST(DType, EveryTypeIsFoundByNameInAnyCaseAndByNumber) {
  for (const DType type : {DType::kF32, DType::kF16, DType::kBF16, DType::kQ4_0, DType::kQ8_0,
                           DType::kQ4_K, DType::kQ6_K}) {
    const auto& info = Info(type);
    EXPECT_EQ(info.type, type);
    EXPECT_EQ(DTypeFromGgml(static_cast<uint32_t>(type)), type);
    EXPECT_EQ(DTypeFromName(info.name), type);
    std::string lower(info.name);
    for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    EXPECT_EQ(DTypeFromName(lower), type);
    EXPECT_EQ(IsQuantised(type), info.block_elems > 1);
  }
}

TEST(DType, OthersAreNotFound) {
  EXPECT_EQ(DTypeFromGgml(9), std::nullopt);
  EXPECT_EQ(DTypeFromGgml(256 + 2), std::nullopt);
  EXPECT_EQ(DTypeFromGgml(0xffffffff), std::nullopt);
  EXPECT_EQ(DTypeFromName(""), std::nullopt);
  EXPECT_EQ(DTypeFromName("Q4"), std::nullopt);
  EXPECT_EQ(DTypeFromName("F16 "), std::nullopt);
}

TEST(DType, RowBytesCountWholeBlocks) {
  EXPECT_EQ(RowBytes(DType::kF32, 3), 12);
  EXPECT_EQ(RowBytes(DType::kBF16, 3), 6);
  EXPECT_EQ(RowBytes(DType::kQ4_0, 64), 36);
  EXPECT_EQ(RowBytes(DType::kQ8_0, 64), 68);
  EXPECT_EQ(RowBytes(DType::kQ4_K, 512), 288);
  EXPECT_EQ(RowBytes(DType::kQ6_K, 512), 420);
  EXPECT_EQ(RowBytes(DType::kQ6_K, 0), 0);
}

TEST(DTypeDeathTest, ARowThatEndsInsideABlockIsABug) {
  EXPECT_DEATH(RowBytes(DType::kQ4_0, 33), "block_elems");
}

}  // namespace
}  // namespace cadre
