#include "tensor/float16.h"

#include <gtest/gtest.h>

#include <cmath>

namespace cadre {
namespace {

// What a 16-bit pattern means, from the standards' formula.
double Meaning(uint32_t bits, int exponent_bits, int fraction_bits) {
  const uint32_t exponent = bits >> fraction_bits & ((1u << exponent_bits) - 1);
  const uint32_t fraction = bits & ((1u << fraction_bits) - 1);
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const double sign = bits >> 15 ? -1 : 1;
  if (exponent == 0) return sign * std::ldexp(fraction, 1 - bias - fraction_bits);
  return sign * std::ldexp(fraction + (1u << fraction_bits),
                           static_cast<int>(exponent) - bias - fraction_bits);
}

bool IsF16NumberBits(uint32_t bits) { return (bits & 0x7c00) != 0x7c00; }
bool IsBF16NumberBits(uint32_t bits) { return (bits & 0x7f80) != 0x7f80; }

TEST(Float16, EveryF16PatternDecodesAndComesBack) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const F16 half = {static_cast<uint16_t>(bits)};
    const float value = ToFloat(half);
    if (IsF16NumberBits(bits)) {
      ASSERT_EQ(static_cast<double>(value), Meaning(bits, 5, 10)) << bits;
      ASSERT_EQ(std::signbit(value), bits >> 15 == 1);
      ASSERT_EQ(ToF16(value).bits, bits);
    } else if ((bits & 0x3ff) == 0) {
      ASSERT_TRUE(std::isinf(value));
      ASSERT_EQ(ToF16(value).bits, bits);
    } else {
      ASSERT_TRUE(std::isnan(value));
      ASSERT_TRUE(std::isnan(ToFloat(ToF16(value))));
    }
  }
}

TEST(Float16, EveryBF16PatternDecodesAndComesBack) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const BF16 half = {static_cast<uint16_t>(bits)};
    const float value = ToFloat(half);
    if (IsBF16NumberBits(bits)) {
      ASSERT_EQ(static_cast<double>(value), Meaning(bits, 8, 7)) << bits;
      ASSERT_EQ(ToBF16(value).bits, bits);
    } else {
      ASSERT_EQ(std::isnan(value), (bits & 0x7f) != 0);
      ASSERT_EQ(std::isnan(ToFloat(ToBF16(value))), (bits & 0x7f) != 0);
    }
  }
}

// Between two neighbours everything goes to the nearer, and the middle to the even one.
TEST(Float16, F16RoundsToNearestEven) {
  for (uint32_t bits = 0; bits < 0x7bff; ++bits) {
    const float low = ToFloat(F16{static_cast<uint16_t>(bits)});
    const float high = ToFloat(F16{static_cast<uint16_t>(bits + 1)});
    const float middle = low + (high - low) / 2;  // exact: two bits more than a half has
    const uint32_t even = bits % 2 == 0 ? bits : bits + 1;
    ASSERT_EQ(ToF16(middle).bits, even);
    ASSERT_EQ(ToF16(std::nextafter(middle, low)).bits, bits);
    ASSERT_EQ(ToF16(std::nextafter(middle, high)).bits, bits + 1);
    ASSERT_EQ(ToF16(-middle).bits, even | 0x8000);
  }
  EXPECT_EQ(ToF16(65519.996f).bits, 0x7bff);
  EXPECT_EQ(ToF16(65520.0f).bits, 0x7c00);  // the middle of the largest and the next: to infinity
  EXPECT_EQ(ToF16(3e38f).bits, 0x7c00);
  EXPECT_EQ(ToF16(1e-45f).bits, 0);
}

TEST(Float16, BF16RoundsToNearestEven) {
  for (uint32_t bits = 0; bits < 0x7f7f; ++bits) {
    const float middle = std::bit_cast<float>(bits << 16 | 0x8000);
    ASSERT_EQ(ToBF16(middle).bits, bits % 2 == 0 ? bits : bits + 1);
    ASSERT_EQ(ToBF16(std::bit_cast<float>(bits << 16 | 0x7fff)).bits, bits);
    ASSERT_EQ(ToBF16(std::bit_cast<float>(bits << 16 | 0x8001)).bits, bits + 1);
  }
  EXPECT_EQ(ToBF16(3.4028235e38f).bits, 0x7f80);
}

}  // namespace
}  // namespace cadre
