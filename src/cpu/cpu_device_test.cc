#include "cpu/cpu_device.h"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>

#include "base/random.h"
#include "ops/attention_test_cases.h"
#include "ops/device_test_cases.h"

namespace cadre {
namespace {

std::vector<DType> AllTypes() {
  std::vector<DType> types;
  for (const auto& info : AllDTypes()) types.push_back(info.type);
  return types;
}
const std::vector<DType> kAllTypes = AllTypes();
constexpr KvType kAllKvTypes[] = {KvType::kF32, KvType::kF16, KvType::kBF16, KvType::kQ8};
constexpr ActivationType kAllActivations[] = {ActivationType::kF32, ActivationType::kRounded,
                                              ActivationType::kBF16};

// Row lengths with tails in every vector width, as far as the type's blocks allow.
std::vector<int64_t> ColsOf(DType type) {
  if (!IsQuantised(type)) return {1, 7, 33, 100, 512};
  const int64_t block = Info(type).block_elems;
  return block == 32 ? std::vector<int64_t>{32, 96, 544} : std::vector<int64_t>{256, 768};
}

class CpuDevice : public testing::TestWithParam<Isa> {
 protected:
  void SetUp() override {
    if (!HasIsa(GetParam())) GTEST_SKIP() << "this machine has no " << IsaName(GetParam());
    device_ = MakeCpuDevice(GetParam(), threads_);
  }
  Device& device() { return *device_; }

  ThreadPool threads_{2};
  std::unique_ptr<Device> device_;
};

INSTANTIATE_TEST_SUITE_P(Isa, CpuDevice, testing::ValuesIn(kAllIsas),
                         [](const auto& isa) { return std::string(IsaName(isa.param)); });

TEST_P(CpuDevice, IsNamedAfterItsInstructionSet) {
  EXPECT_EQ(device().name(), IsaName(GetParam()));
}

TEST_P(CpuDevice, MatMulAgreesWithTheReference) {
  for (const DType type : kAllTypes) {
    for (const ActivationType activation : kAllActivations) {
      for (const int64_t cols : ColsOf(type)) {
        for (const auto& [tokens, rows] : {std::pair{1, 1}, {1, 33}, {7, 5}, {33, 40}}) {
          CheckMatMul(device(), type, activation, tokens, rows, cols);
        }
      }
    }
  }
}

// Rows so long, and tokens so many, that a product is made in several passes.
TEST_P(CpuDevice, MatMulOfManyTokensAgreesWithTheReference) {
  for (const DType type : kAllTypes) {
    CheckMatMul(device(), type, ActivationType::kRounded, 49, 70, 2304);
  }
}

TEST_P(CpuDevice, PackedWeightsGiveTheSameBits) {
  for (const DType type : kAllTypes) {
    for (const int64_t cols : {ColsOf(type).front(), ColsOf(type).back(), int64_t{2304}}) {
      const TestWeight w(type, 37, cols, 5);
      const int64_t bytes = device().PackedBytes(w.weight);
      const bool half = type == DType::kF16 || type == DType::kBF16;
      const bool packs =
          IsQuantised(type) ? GetParam() != Isa::kScalar : half && GetParam() >= Isa::kAvx512;
      EXPECT_EQ(bytes > 0, packs) << Info(type).name;
      if (bytes == 0) continue;
      const Buffer<std::byte> packed(bytes);
      device().Pack(w.weight, packed.data());
      Weight packed_weight = w.weight;
      packed_weight.packed = packed.data();
      const auto x = NormalValues(60 * cols, 6);
      for (const int64_t tokens : {1, 5, 60}) {
        EXPECT_EQ(RunMatMul(device(), x, tokens, packed_weight, ActivationType::kRounded),
                  RunMatMul(device(), x, tokens, w.weight, ActivationType::kRounded))
            << Info(type).name << " " << tokens;
      }
      EXPECT_EQ(RunMatMul(device(), x, 3, packed_weight, ActivationType::kF32),
                RunMatMul(device(), x, 3, w.weight, ActivationType::kF32))
          << Info(type).name;
    }
  }
}

// So that a matrix can be packed as it is read.
TEST_P(CpuDevice, RowsPackedApartArePartsOfTheWhole) {
  for (const DType type : kAllTypes) {
    const TestWeight w(type, 37, ColsOf(type).back(), 5);
    const int64_t bytes = device().PackedBytes(w.weight);
    if (bytes == 0) continue;
    const Buffer<std::byte> whole(bytes), parts(bytes);
    device().Pack(w.weight, whole.data());
    for (const int64_t row : {0, 16, 32}) {
      const int64_t end = std::min<int64_t>(row + Device::kPackRows, 37);
      device().Pack(w.weight.Rows(row, end),
                    parts.data() + device().PackedBytes(w.weight.Rows(0, row)));
    }
    EXPECT_EQ(std::memcmp(whole.data(), parts.data(), static_cast<size_t>(bytes)), 0)
        << Info(type).name;
  }
}

// Where the 16-bit floats of a block are.
std::vector<int64_t> HalvesOf(DType type) {
  switch (type) {
    case DType::kQ2_K:
      return {80, 82};
    case DType::kQ3_K:
      return {108};
    case DType::kQ6_K:
      return {208};
    case DType::kQ4_1:
    case DType::kQ5_1:
    case DType::kQ4_K:
    case DType::kQ5_K:
      return {0, 2};
    default:
      return {0};
  }
}

// Levels and scales at the ends of their ranges, as no quantiser writes them: rows of zeros, of
// ones, of single bits, and of anything; what is a float is one.
struct AnyBytes {
  static constexpr int64_t kRows = 20, kCols = 512;
  std::vector<std::byte> bytes;
  Weight weight;

  explicit AnyBytes(DType type) {
    const int64_t row_bytes = RowBytes(type, kCols);
    bytes.resize(static_cast<size_t>(kRows * row_bytes));
    Random random(7);
    for (size_t i = 0; i < bytes.size(); ++i) {
      const int64_t row = static_cast<int64_t>(i) / row_bytes;
      constexpr int kEnds[] = {0, 255, 128};
      bytes[i] = static_cast<std::byte>(row < 3 ? kEnds[row] : random.NextBelow(256));
    }
    for (auto block = bytes.begin(); block != bytes.end(); block += Info(type).block_bytes) {
      for (const int64_t at : HalvesOf(type)) {
        block[at] = std::byte{0x00};
        block[at + 1] = std::byte{0x3c};  // 1
      }
    }
    weight = {bytes.data(), type, kRows, kCols};
  }
};
// Activations that are all at an end of their range once they are rounded; a third of the rows have
// one sign only.
std::vector<float> Ends(int64_t tokens, int64_t cols) {
  std::vector<float> x(static_cast<size_t>(tokens * cols));
  for (size_t i = 0; i < x.size(); ++i)
    x[i] = i / static_cast<size_t>(cols) % 3 == 0 ? 1.0f : i * 7 % 11 < 5 ? -1.0f : 1.0f;
  return x;
}

// No sum of whole numbers runs over, whichever unit makes it.
TEST_P(CpuDevice, BlocksOfAnyBytesGiveTheSameBitsToOneTokenAndToMany) {
  constexpr int64_t kRows = AnyBytes::kRows, kCols = AnyBytes::kCols, kTokens = 40;
  const auto reference = MakeReferenceDevice();
  const std::vector<float> x = Ends(kTokens, kCols);
  for (const DType type : kAllTypes) {
    if (!IsQuantised(type)) continue;
    const AnyBytes any(type);
    const auto many = RunMatMul(device(), x, kTokens, any.weight, ActivationType::kRounded);
    const auto expected = RunMatMul(*reference, x, kTokens, any.weight, ActivationType::kRounded);
    for (int64_t t = 0; t < kTokens; ++t) {
      const std::vector<float> row(x.begin() + t * kCols, x.begin() + (t + 1) * kCols);
      const auto alone = RunMatMul(device(), row, 1, any.weight, ActivationType::kRounded);
      for (int64_t n = 0; n < kRows; ++n) {
        const auto i = static_cast<size_t>(t * kRows + n);
        ASSERT_EQ(many[i], alone[static_cast<size_t>(n)])
            << Info(type).name << " " << t << " " << n;
        // Sums of 512 values of some thousands, in float32. A byte that runs over is off by 256.
        ASSERT_NEAR(many[i], expected[i], 8.0) << Info(type).name << " " << t << " " << n;
      }
    }
  }
}

// Whole numbers are exact, and the floats that follow are the same operations in the same order.
TEST(CpuPanels, GiveTheSameBitsOnEveryInstructionSet) {
  ThreadPool threads(2);
  std::unique_ptr<Device> before;  // of the least of them
  for (const Isa isa : kAllIsas) {
    if (isa == Isa::kScalar || !HasIsa(isa)) continue;
    auto device = MakeCpuDevice(isa, threads);
    if (before == nullptr) {
      before = std::move(device);
      continue;
    }
    for (const DType type : kAllTypes) {
      if (!IsQuantised(type)) continue;
      const AnyBytes any(type);
      const TestWeight normal(type, 37, 768, 5);
      const auto x = NormalValues(50 * 768, 6);
      for (const int64_t tokens : {1, 5, 12, 50}) {
        EXPECT_EQ(RunMatMul(*device, x, tokens, normal.weight, ActivationType::kRounded),
                  RunMatMul(*before, x, tokens, normal.weight, ActivationType::kRounded))
            << IsaName(isa) << " " << Info(type).name << " " << tokens;
        const auto ends = Ends(tokens, AnyBytes::kCols);
        EXPECT_EQ(RunMatMul(*device, ends, tokens, any.weight, ActivationType::kRounded),
                  RunMatMul(*before, ends, tokens, any.weight, ActivationType::kRounded))
            << IsaName(isa) << " " << Info(type).name << " " << tokens;
      }
    }
  }
}

TEST_P(CpuDevice, EmptyOperandsAreNothing) {
  const TestWeight w(DType::kQ4_0, 3, 32, 1);
  EXPECT_TRUE(RunMatMul(device(), {}, 0, w.weight, ActivationType::kRounded).empty());
  EXPECT_TRUE(
      RunMatMul(device(), std::vector<float>(32), 1, w.weight.Rows(1, 1), ActivationType::kF32)
          .empty());
  const Weight no_cols = {w.bytes.data(), DType::kF32, 3, 0};
  EXPECT_EQ(RunMatMul(device(), {}, 2, no_cols, ActivationType::kF32), std::vector<float>(6, 0.0f));
  device().Embed(w.weight, {}, Mat<float>(nullptr, 0, 32));
  device().RmsNorm(Mat<const float>(nullptr, 0, 8), std::vector<float>(8), 1e-5f,
                   Mat<float>(nullptr, 0, 8));
  device().Rope(Mat<float>(nullptr, 0, 8), 8, {}, std::vector<double>(4), RopeLayout::kHalfSplit);
  device().Add(Mat<const float>(nullptr, 0, 8), Mat<const float>(nullptr, 0, 8),
               Mat<float>(nullptr, 0, 8));
  device().SwiGlu(Mat<const float>(nullptr, 0, 8), Mat<const float>(nullptr, 0, 8),
                  Mat<float>(nullptr, 0, 8));
  device().GatherRows(Mat<const float>(nullptr, 0, 8), {}, Mat<float>(nullptr, 0, 8));
  device().CombineRows(Mat<const float>(nullptr, 0, 8), {}, Mat<float>(nullptr, 0, 8));
  const KvBatch batch = {KvShape{KvType::kF16, 1, 1, 8}, 0, {}, {}, {}};
  device().StoreKv(Mat<const float>(nullptr, 0, 8), Mat<const float>(nullptr, 0, 8), batch);
  device().Attention(Mat<const float>(nullptr, 0, 8), 1, 0, batch, Mat<float>(nullptr, 0, 8), {});
}

// Alone, in a batch of seven, in one whose tiles and cells are cut elsewhere, and on one thread:
// the same bits.
TEST_P(CpuDevice, AnOutputRowOfMatMulDependsOnItsInputRowOnly) {
  ThreadPool one_thread(1), three_threads(3);
  const auto single = MakeCpuDevice(GetParam(), one_thread);
  const auto triple = MakeCpuDevice(GetParam(), three_threads);
  for (const DType type : kAllTypes) {
    for (const ActivationType activation : kAllActivations) {
      const int64_t cols = ColsOf(type).back() + (IsQuantised(type) ? 0 : 5);
      for (const int64_t rows : {3, 50}) {
        const TestWeight w(type, rows, cols, 7);
        const auto x = NormalValues(70 * cols, 8);
        const auto all = RunMatMul(device(), x, 70, w.weight, activation);
        EXPECT_EQ(RunMatMul(*single, x, 70, w.weight, activation), all) << Info(type).name;
        EXPECT_EQ(RunMatMul(*triple, x, 70, w.weight, activation), all) << Info(type).name;
        for (const auto& [first, count] :
             {std::pair<int64_t, int64_t>{0, 1}, {5, 7}, {68, 2}, {11, 17}}) {
          const std::vector<float> some(x.begin() + first * cols,
                                        x.begin() + (first + count) * cols);
          const std::vector<float> expected(all.begin() + first * rows,
                                            all.begin() + (first + count) * rows);
          EXPECT_EQ(RunMatMul(device(), some, count, w.weight, activation), expected)
              << Info(type).name;
        }
        const Weight part = w.weight.Rows(1, 3);  // and outputs do not see each other
        const auto columns = RunMatMul(device(), x, 70, part, activation);
        for (size_t t = 0; t < 70; ++t) {
          EXPECT_EQ(columns[2 * t], all[t * static_cast<size_t>(rows) + 1]);
          EXPECT_EQ(columns[2 * t + 1], all[t * static_cast<size_t>(rows) + 2]);
        }
      }
    }
  }
}

TEST_P(CpuDevice, AddsALowRankToAnyMatrix) {
  for (const DType type : kAllTypes) {
    for (const ActivationType activation : {ActivationType::kF32, ActivationType::kRounded}) {
      for (const int64_t tokens : {1, 70}) {
        CheckLowRank(device(), type, activation, tokens, 35, ColsOf(type).back(), 5);
      }
    }
  }
}

TEST_P(CpuDevice, WhatALowRankAddsToARowDependsOnItsInputRowOnly) {
  TestWeight w(DType::kQ4_0, 40, 96, 7);
  const TestLowRank added(40, 96, 3, 9);
  w.weight.low_rank = &added.low_rank;
  const auto x = NormalValues(150 * 96, 8);
  const auto all = RunMatMul(device(), x, 150, w.weight, ActivationType::kF32);
  for (const auto& [first, count] : {std::pair<int64_t, int64_t>{0, 1}, {60, 9}, {149, 1}}) {
    const std::vector<float> some(x.begin() + first * 96, x.begin() + (first + count) * 96);
    EXPECT_EQ(RunMatMul(device(), some, count, w.weight, ActivationType::kF32),
              std::vector<float>(all.begin() + first * 40, all.begin() + (first + count) * 40));
  }
}

TEST_P(CpuDevice, MatMulTakesStridedRows) {
  const TestWeight w(DType::kQ8_0, 9, 64, 3);
  const auto x = NormalValues(5 * 64, 4);
  for (const ActivationType activation : kAllActivations) {
    std::vector<float> wide_x(5 * 70, std::nanf("")), wide_out(5 * 12, 42.0f);
    for (int64_t t = 0; t < 5; ++t) std::copy_n(x.begin() + t * 64, 64, wide_x.begin() + t * 70);
    device().MatMul(Mat<const float>(wide_x.data(), 5, 64, 70), w.weight, activation,
                    Mat<float>(wide_out.data(), 5, 9, 12));
    const auto expected = RunMatMul(device(), x, 5, w.weight, activation);
    for (size_t i = 0; i < wide_out.size(); ++i)
      EXPECT_EQ(wide_out[i], i % 12 < 9 ? expected[i / 12 * 9 + i % 12] : 42.0f);
  }
}

TEST_P(CpuDevice, ActivationsThatAreNotFiniteAreSeenInTheirRowOnly) {
  const TestWeight w(DType::kQ4_0, 8, 64, 5);
  for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
    for (const ActivationType activation : kAllActivations) {
      auto x = NormalValues(3 * 64, 6);
      x[64 + 40] = bad;
      const auto out = RunMatMul(device(), x, 3, w.weight, activation);
      for (size_t n = 0; n < 8; ++n) {
        EXPECT_TRUE(std::isfinite(out[n]) && std::isfinite(out[16 + n]));
        EXPECT_FALSE(std::isfinite(out[8 + n]));
      }
    }
  }
}

TEST_P(CpuDevice, TinyActivationsGiveTinyResults) {
  const TestWeight w(DType::kQ8_0, 4, 32, 5);
  for (const float tiny : {0.0f, 1e-45f, 1e-39f, 1e-37f}) {
    for (const float value :
         RunMatMul(device(), std::vector<float>(32, tiny), 1, w.weight, ActivationType::kRounded)) {
      EXPECT_LE(std::abs(value), 64 * tiny);
    }
  }
}

TEST_P(CpuDevice, RowOperationsAgreeWithTheReference) {
  for (const int64_t rows : {1, 7, 33}) {
    for (const int64_t cols : {1, 7, 33, 256}) {
      CheckRmsNorm(device(), rows, cols);
      CheckSwiGlu(device(), rows, cols);
      CheckDispatch(device(), rows, cols);
    }
    for (const DType type : kAllTypes) {
      for (const int64_t cols : ColsOf(type)) CheckAddAndEmbed(device(), type, rows, cols);
    }
  }
}

TEST_P(CpuDevice, RopeAgreesWithTheReference) {
  for (const RopeLayout layout : {RopeLayout::kHalfSplit, RopeLayout::kInterleaved}) {
    for (const int64_t head_dim : {2, 6, 64, 128}) {
      for (const int64_t rows : {1, 7}) CheckRope(device(), rows, 3, head_dim, layout);
    }
  }
}

TEST_P(CpuDevice, SwiGluKeepsNan) {
  std::vector<float> gate(20, 1.0f);
  gate[3] = gate[18] = std::nanf("");
  const std::vector<float> up(20, 2.0f);
  device().SwiGlu(View(gate, 1, 20), Mat<const float>(up.data(), 1, 20), View(gate, 1, 20));
  for (size_t i = 0; i < 20; ++i) EXPECT_EQ(std::isnan(gate[i]), i == 3 || i == 18);
}

TEST_P(CpuDevice, AttentionAgreesWithTheReference) {
  for (const KvType type : kAllKvTypes) {
    CheckAttention(device(), KvCase(type, 2, 4, 32, 0, {1, 7, 300}));
    CheckAttention(device(), KvCase(type, 1, 3, 10, 0, {33}));
    CheckAttention(device(), KvCase(type, 2, 1, 100, 0, {40}));
    CheckAttention(device(), KvCase(type, 1, 7, 128, 0, {20}));
  }
}

TEST_P(CpuDevice, AttentionKeepsTheWindow) {
  for (const KvType type : kAllKvTypes) {
    for (const int64_t window : {1, 5, 64, 256, 290})
      CheckAttention(device(), KvCase(type, 1, 2, 16, window, {3, 520}));
  }
}

TEST_P(CpuDevice, DecodeEqualsPrefillAcrossBlocks) {
  for (const KvType type : kAllKvTypes) {
    CheckDecodeEqualsPrefill(device(), KvCase(type, 1, 2, 24, 0, {530, 3}));
    CheckDecodeEqualsPrefill(device(), KvCase(type, 2, 4, 40, 0, {260}));
    CheckDecodeEqualsPrefill(device(), KvCase(type, 1, 1, 16, 100, {300}));
  }
}

// So long that the blocks of a row alone, which threads sum apart, are merged in two rounds.
TEST_P(CpuDevice, ARowAloneBehindManyBlocksIsAsInItsPrompt) {
  const KvCase c(KvType::kF16, 1, 2, 8, 0, {33 * kKvBlock + 50});
  const KvRun together(device(), c, c.rows());
  const KvRun last_alone(device(), c, c.rows() - 1);
  EXPECT_TRUE(last_alone.out == together.out);
  EXPECT_TRUE(last_alone.lse == together.lse);
}

TEST_P(CpuDevice, ThreadsDoNotShowInAttention) {
  ThreadPool one_thread(1), three_threads(3);
  const auto single = MakeCpuDevice(GetParam(), one_thread);
  const auto triple = MakeCpuDevice(GetParam(), three_threads);
  const KvCase c(KvType::kF16, 2, 4, 64, 0, {270});
  const KvRun three(*triple, c, c.rows());
  const KvRun one(*single, c, c.rows());
  EXPECT_EQ(three.out, one.out);
  EXPECT_EQ(three.lse, one.lse);
}

TEST(CpuIsa, EveryNameOfTheMachineParsesAndOthersAreErrors) {
  for (const Isa isa : kAllIsas) {
    if (HasIsa(isa)) {
      EXPECT_EQ(ParseIsa(IsaName(isa)), isa);
    } else {
      EXPECT_THROW(ParseIsa(IsaName(isa)), Error);
    }
  }
  EXPECT_THROW(ParseIsa("sse9"), Error);
  EXPECT_THROW(ParseIsa(""), Error);
  EXPECT_TRUE(HasIsa(DetectIsa()));
}

}  // namespace
}  // namespace cadre
