#include "tensor/quant.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <limits>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/random.h"
#include "tensor/float16.h"

namespace cadre {
namespace {

std::vector<DType> Types(bool (*wanted)(DType)) {
  std::vector<DType> types;
  for (const auto& info : AllDTypes()) {
    if (wanted(info.type)) types.push_back(info.type);
  }
  return types;
}
const std::vector<DType> kAllTypes = Types([](DType) { return true; });
const std::vector<DType> kBlockTypes = Types(IsQuantised);

std::vector<float> Normals(int64_t count, uint64_t seed, double scale = 1.0) {
  Random random(seed);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = static_cast<float>(scale * random.NextNormal());
  return values;
}

std::vector<std::byte> Encoded(DType type, const std::vector<float>& values) {
  std::vector<std::byte> bytes(
      static_cast<size_t>(RowBytes(type, static_cast<int64_t>(values.size()))));
  EncodeRow(type, values, bytes.data());
  return bytes;
}

std::vector<float> RoundTrip(DType type, const std::vector<float>& values) {
  std::vector<float> out(values.size());
  DecodeRow(type, Encoded(type, values).data(), out);
  return out;
}

// Root of the squared error's share of the squared values.
double RelativeError(const std::vector<float>& values, const std::vector<float>& rounded) {
  double error = 0, norm = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    error += std::pow(static_cast<double>(values[i]) - rounded[i], 2);
    norm += std::pow(static_cast<double>(values[i]), 2);
  }
  return std::sqrt(error / norm);
}

TEST(Quant, DecodesTheReferenceVectorsBitForBit) {
  const char* folder = std::getenv("CADRE_TEST_DATA");
  if (folder == nullptr) GTEST_SKIP() << "CADRE_TEST_DATA is not set";
  const Json file = ReadJsonFile(std::string(folder) + "/quant/dequant_vectors.json");
  int num_types = 0;
  for (const auto& [name, entry] : file.at("types").items()) {
    const auto type = DTypeFromName(name);
    if (!type) continue;
    ++num_types;
    EXPECT_EQ(DTypeFromGgml(entry.at("ggml_id").get<uint32_t>()), type);
    EXPECT_EQ(Info(*type).block_elems, entry.at("block_elems").get<int>());
    EXPECT_EQ(Info(*type).block_bytes, entry.at("block_bytes").get<int>());
    for (const auto& block : entry.at("blocks")) {
      const auto hex = block.at("hex").get<std::string>();
      std::vector<std::byte> bytes;
      for (size_t i = 0; i < hex.size(); i += 2) {
        bytes.push_back(static_cast<std::byte>(std::stoi(hex.substr(i, 2), nullptr, 16)));
      }
      const auto expected = block.at("values").get<std::vector<double>>();
      std::vector<float> decoded(expected.size());
      DecodeRow(*type, bytes.data(), decoded);
      for (size_t i = 0; i < expected.size(); ++i) {
        EXPECT_EQ(std::bit_cast<uint32_t>(decoded[i]),
                  std::bit_cast<uint32_t>(static_cast<float>(expected[i])))
            << name << " value " << i;
      }
    }
  }
  EXPECT_EQ(num_types, 12);
}

TEST(Quant, AnyBytesDecodeAtAnyAlignment) {
  Random random(5);
  for (const DType type : kAllTypes) {
    std::vector<std::byte> bytes(static_cast<size_t>(RowBytes(type, 512)) + 1);
    for (auto& byte : bytes) byte = static_cast<std::byte>(random.NextBelow(256));
    std::vector<float> odd(512), even(512);
    DecodeRow(type, bytes.data() + 1, odd);
    bytes.erase(bytes.begin());
    DecodeRow(type, bytes.data(), even);
    EXPECT_EQ(std::memcmp(odd.data(), even.data(), 2048), 0) << Info(type).name;
  }
}

TEST(Quant, AnEmptyRowIsNothing) {
  for (const DType type : kAllTypes) {
    DecodeRow(type, nullptr, {});
    EncodeRow(type, {}, nullptr);
  }
}

TEST(Quant, FloatTypesKeepWhatTheyCanHold) {
  std::vector<float> values = Normals(1000, 1);
  EXPECT_EQ(RoundTrip(DType::kF32, values), values);
  for (float& value : values) value = ToFloat(ToF16(value));
  EXPECT_EQ(RoundTrip(DType::kF16, values), values);
  for (float& value : values) value = ToFloat(ToBF16(value));
  EXPECT_EQ(RoundTrip(DType::kBF16, values), values);
}

// A spread of 8 levels for the extreme value, half a step of error each, plus the F16 rounding of
// the scale (2^-11).
TEST(Quant, SimpleTypesErrByHalfAStep) {
  const auto values = Normals(32 * 200, 2);
  const auto q4 = RoundTrip(DType::kQ4_0, values);
  const auto q8 = RoundTrip(DType::kQ8_0, values);
  for (size_t block = 0; block < values.size(); block += 32) {
    float extreme = 0;
    for (size_t i = block; i < block + 32; ++i) {
      if (std::abs(values[i]) > std::abs(extreme)) extreme = values[i];
    }
    const float amax = std::abs(extreme);
    for (size_t i = block; i < block + 32; ++i) {
      EXPECT_LE(std::abs(q8[i] - values[i]), amax / 127 * 0.5f + amax * 0x1p-11f + 1e-6f);
      const bool clipped = values[i] * extreme < 0 &&
                           std::abs(values[i]) > amax / 8 * 7.5f;  // level 16 does not exist
      EXPECT_LE(std::abs(q4[i] - values[i]),
                amax / 8 * (clipped ? 1.0f : 0.5f) + amax * 0x1p-11f + 1e-6f);
    }
  }
}

TEST(Quant, Q4_0RoundsHalfUpFromTheFloatScale) {
  std::vector<float> values(32, 0.0f);
  values[0] = -8;    // the extreme: scale 1
  values[1] = 0.5f;  // 9 after the shift
  values[2] = -0.5f;
  values[17] = 7.6f;  // level 16 is cut to 15
  const auto bytes = Encoded(DType::kQ4_0, values);
  EXPECT_EQ(bytes[0], std::byte{0x00});
  EXPECT_EQ(bytes[1], std::byte{0x3c});
  EXPECT_EQ(bytes[2], std::byte{0x80});
  EXPECT_EQ(bytes[3], std::byte{0xf9});
  EXPECT_EQ(bytes[4], std::byte{0x88});
}

TEST(Quant, Q8_0RoundsHalfAwayFromZero) {
  std::vector<float> values(32, 0.0f);
  values[0] = 127;
  values[1] = 2.5f;
  values[2] = -2.5f;
  const auto bytes = Encoded(DType::kQ8_0, values);
  EXPECT_EQ(static_cast<int8_t>(bytes[2]), 127);
  EXPECT_EQ(static_cast<int8_t>(bytes[3]), 3);
  EXPECT_EQ(static_cast<int8_t>(bytes[4]), -3);
}

// What a uniform quantiser without a search leaves of these normal values: 0.0783 with a
// sub-block's range over 15 steps, 0.0190 with its extreme over 31, scales exact. The search leaves
// 0.0696 and 0.0167 although its scales have 6 and 8 bits.
TEST(Quant, TheSearchBeatsPlainRounding) {
  const auto values = Normals(256 * 100, 3, 0.02);
  std::vector<float> plain4(values.size()), plain6(values.size());
  for (size_t block = 0; block < values.size(); block += 32) {
    const auto [low, high] =
        std::minmax_element(values.begin() + static_cast<ptrdiff_t>(block),
                            values.begin() + static_cast<ptrdiff_t>(block) + 32);
    const float step = (*high - *low) / 15;
    for (size_t i = block; i < block + 32; ++i)
      plain4[i] = *low + step * std::round((values[i] - *low) / step);
  }
  for (size_t block = 0; block < values.size(); block += 16) {
    float amax = 0;
    for (size_t i = block; i < block + 16; ++i) amax = std::max(amax, std::abs(values[i]));
    for (size_t i = block; i < block + 16; ++i)
      plain6[i] = amax / 31 * std::round(values[i] / (amax / 31));
  }
  EXPECT_LT(RelativeError(values, RoundTrip(DType::kQ4_K, values)), RelativeError(values, plain4));
  EXPECT_LT(RelativeError(values, RoundTrip(DType::kQ6_K, values)), RelativeError(values, plain6));
}

// The error each type leaves of normal values, as a share of them: what its bits allow. The simple
// types and IQ4_NL reach what ggml's reach; the searched ones are at or below them.
TEST(Quant, ErrorsAreWhatTheBitsAllow) {
  const auto values = Normals(256 * 200, 8, 0.02);
  const std::pair<DType, double> most[] = {
      {DType::kQ8_0, 0.0063},  {DType::kQ6_K, 0.018}, {DType::kQ5_1, 0.040},
      {DType::kQ5_0, 0.044},   {DType::kQ5_K, 0.036}, {DType::kQ4_1, 0.082},
      {DType::kQ4_0, 0.092},   {DType::kQ4_K, 0.074}, {DType::kIQ4_NL, 0.080},
      {DType::kIQ4_XS, 0.082}, {DType::kQ3_K, 0.16},  {DType::kQ2_K, 0.30}};
  for (const auto& [type, bound] : most) {
    const double error = RelativeError(values, RoundTrip(type, values));
    EXPECT_LT(error, bound) << Info(type).name;
    EXPECT_GT(error, bound / 2) << Info(type).name;
  }
  EXPECT_EQ(std::size(most), kBlockTypes.size());
}

std::vector<float> RoundTrip(DType type, const std::vector<float>& values,
                             const std::vector<float>& importance) {
  std::vector<std::byte> bytes(
      static_cast<size_t>(RowBytes(type, static_cast<int64_t>(values.size()))));
  EncodeRow(type, values, bytes.data(), importance);
  std::vector<float> out(values.size());
  DecodeRow(type, bytes.data(), out);
  return out;
}

// Of squares of normals, as those of a layer's inputs are: a few columns weigh most.
std::vector<float> Importances(int64_t count, uint64_t seed) {
  auto importance = Normals(count, seed);
  for (float& value : importance) value = std::pow(value, 4.0f) + 1e-3f;
  return importance;
}

double WeightedError(const std::vector<float>& values, const std::vector<float>& rounded,
                     const std::vector<float>& importance) {
  double error = 0, norm = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    error += importance[i] * std::pow(static_cast<double>(values[i]) - rounded[i], 2);
    norm += importance[i] * std::pow(static_cast<double>(values[i]), 2);
  }
  return error / norm;
}

// The share of the weighted error that is left when the search knows what weighs.
TEST(Quant, WhatWeighsMoreIsKeptBetter) {
  const auto values = Normals(256 * 100, 12, 0.02);
  const auto importance = Importances(256 * 100, 13);
  const std::pair<DType, double> most[] = {
      {DType::kQ6_K, 0.75},   {DType::kQ5_1, 0.65}, {DType::kQ5_0, 0.65}, {DType::kQ5_K, 0.75},
      {DType::kQ4_1, 0.65},   {DType::kQ4_0, 0.65}, {DType::kQ4_K, 0.75}, {DType::kIQ4_NL, 0.75},
      {DType::kIQ4_XS, 0.75}, {DType::kQ3_K, 0.75}, {DType::kQ2_K, 0.75}};
  for (const auto& [type, share] : most) {
    const double plain = WeightedError(values, RoundTrip(type, values), importance);
    const double weighted = WeightedError(values, RoundTrip(type, values, importance), importance);
    EXPECT_LT(weighted, share * plain) << Info(type).name;
  }
  EXPECT_EQ(std::size(most) + 1, kBlockTypes.size());  // Q8_0 does not look at it
}

TEST(Quant, OnlyRatiosOfImportanceCount) {
  const auto values = Normals(256 * 20, 14);
  const auto importance = Importances(256 * 20, 15);
  auto scaled = importance;
  for (float& value : scaled) value *= 0x1p20f;
  for (const DType type : kAllTypes)
    EXPECT_EQ(RoundTrip(type, values, importance), RoundTrip(type, values, scaled))
        << Info(type).name;
  for (const DType type : {DType::kQ2_K, DType::kQ3_K, DType::kQ4_K, DType::kQ5_K, DType::kQ6_K,
                           DType::kIQ4_NL, DType::kIQ4_XS}) {
    EXPECT_EQ(RoundTrip(type, values, std::vector<float>(values.size(), 4.0f)),
              RoundTrip(type, values))
        << Info(type).name;
  }
}

TEST(Quant, ImportanceOfAnySizeGivesFiniteValues) {
  const auto values = Normals(256, 16);
  for (const DType type : kBlockTypes) {
    for (const float importance : {0.0f, 1e-45f, 1e-30f, 3e38f}) {
      auto one = std::vector<float>(256, importance);
      for (const float other : {importance, 1.0f}) {
        one[200] = other;
        for (const float value : RoundTrip(type, values, one))
          EXPECT_TRUE(std::isfinite(value)) << Info(type).name << " " << importance;
      }
    }
  }
}

// A line may lie anywhere; a scale without an offset may not.
TEST(Quant, ValuesFarFromZeroKeepTheirSpreadInTheTypesWithAMinimum) {
  auto values = Normals(32 * 50, 17, 0.1);
  for (float& value : values) value += 5;
  const auto importance = Importances(32 * 50, 18);
  for (const DType type : {DType::kQ4_1, DType::kQ5_1})
    EXPECT_LT(RelativeError(values, RoundTrip(type, values, importance)), 0.004) << Info(type).name;
}

// Encoding what a block holds finds it again, or something near it: types with few levels and
// coarse scales can settle on a neighbour.
TEST(Quant, EncodingADecodedRowLosesLittle) {
  for (const DType type : kBlockTypes) {
    const auto values = Normals(256 * 50, 4);
    const auto once = RoundTrip(type, values);
    EXPECT_LT(RelativeError(once, RoundTrip(type, once)), 0.3 * RelativeError(values, once))
        << Info(type).name;
  }
}

// Levels, scales and minima of random blocks, packed, decode to what the fields say.
TEST(Quant, EveryBitOfABlockIsEncodedWhereItIsDecoded) {
  Random random(15);
  for (const DType type : kBlockTypes) {
    const auto& info = Info(type);
    std::vector<bool> seen(static_cast<size_t>(info.block_bytes) * 8);
    for (int round = 0; round < 200; ++round) {
      auto values = Normals(info.block_elems, static_cast<uint64_t>(100 + round));
      // Sub-blocks of unlike size and place use all bits of the scales and minima.
      for (size_t i = 0; i < values.size(); ++i) {
        values[i] = (values[i] + (round % 3 == 0 ? 2.0f : 0.0f)) *
                    static_cast<float>(1 + (i / 16 * 7 + static_cast<size_t>(round)) % 16) *
                    (round % 2 == 0 ? 1.0f : -1.0f);
      }
      const auto bytes = Encoded(type, values);
      for (size_t bit = 0; bit < seen.size(); ++bit)
        if ((static_cast<int>(bytes[bit / 8]) >> bit % 8 & 1) != 0) seen[bit] = true;
    }
    int unused = 0;
    for (const bool bit : seen) unused += bit ? 0 : 1;
    EXPECT_LE(unused, 12) << Info(type).name;  // the high bits of the F16 scales
  }
}

TEST(Quant, ConstantAndZeroRowsSurvive) {
  for (const DType type : kAllTypes) {
    EXPECT_EQ(RoundTrip(type, std::vector<float>(256, 0.0f)), std::vector<float>(256, 0.0f))
        << Info(type).name;
    for (const float level : {1.0f, -1.0f}) {
      const std::vector<float> constant(256, level);
      EXPECT_LT(RelativeError(constant, RoundTrip(type, constant)), 0.01)
          << Info(type).name << " " << level;
    }
  }
}

TEST(Quant, ExtremeValuesGiveABlockAndFiniteOnesStayFinite) {
  const float inf = std::numeric_limits<float>::infinity();
  for (const DType type : kAllTypes) {
    for (const float extreme : {std::nanf(""), inf, -inf, 3e38f, -3e38f, 1e-45f, 1e-38f}) {
      auto values = Normals(256, 6);
      values[77] = extreme;
      const auto rounded = RoundTrip(type, values);
      if (!IsQuantised(type) || !std::isfinite(extreme)) continue;
      for (const float value : rounded)
        EXPECT_TRUE(std::isfinite(value)) << Info(type).name << " " << extreme;
    }
    RoundTrip(type, std::vector<float>(256, 1e-45f));
    RoundTrip(type, std::vector<float>(256, 3e38f));
  }
}

}  // namespace
}  // namespace cadre
