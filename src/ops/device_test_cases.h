// What every Device must keep, as checks against the reference device. Bounds are derived from u =
// 2^-24, the rounding of a float: a sum of n products in any order errs by at most Gamma(n) times
// the sum of their magnitudes (Higham, "Accuracy and Stability of Numerical Algorithms", 2nd ed.,
// section 3.1), fused or not.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "base/random.h"
#include "ops/backward_test_cases.h"
#include "ops/device.h"
#include "tensor/buffer.h"
#include "tensor/quant.h"

namespace cadre {

inline constexpr double kU = 0x1p-24;
inline double Gamma(int64_t n) {
  return static_cast<double>(n) * kU / (1 - static_cast<double>(n) * kU);
}

// An element that misses its bound fails the test, the first one only.
inline void ExpectWithin(const std::vector<float>& got, const std::vector<float>& expected,
                         const std::vector<double>& bound, const std::string& what) {
  ASSERT_EQ(got.size(), expected.size());
  ASSERT_EQ(got.size(), bound.size());
  for (size_t i = 0; i < got.size(); ++i) {
    const double miss = std::abs(static_cast<double>(got[i]) - expected[i]);
    ASSERT_LE(miss, bound[i]) << what << ": element " << i << " is " << got[i] << " but must be "
                              << expected[i];
  }
}

// Where the levels are in a block of a type with offsets; empty for others.
struct ByteRange {
  int begin = 0, end = 0;
  bool empty() const { return begin == end; }
  int size() const { return end - begin; }
};
inline ByteRange LevelBytes(DType type) {
  switch (type) {
    case DType::kQ4_1:
      return {4, 20};
    case DType::kQ5_1:
      return {4, 24};
    case DType::kQ2_K:
      return {16, 80};
    case DType::kQ4_K:
      return {16, 144};
    case DType::kQ5_K:
      return {16, 176};
    default:
      return {};
  }
}

// A weight in the stored form of `type`, from normal values, at an odd address.
struct TestWeight {
  std::vector<std::byte> bytes;
  Weight weight;
  std::vector<float> values;   // [rows, cols] decoded
  std::vector<float> offsets;  // [rows, cols] what is added to level * scale; 0 for most types

  TestWeight(DType type, int64_t rows, int64_t cols, uint64_t seed) {
    const auto size = static_cast<size_t>(rows * cols);
    bytes.resize(static_cast<size_t>(rows * RowBytes(type, cols)) + 1);
    weight = {bytes.data() + 1, type, rows, cols};
    EncodeRow(type, NormalValues(rows * cols, seed, 0.1), bytes.data() + 1);
    values.resize(size);
    offsets.resize(size);
    DecodeRow(type, weight.data, values);
    const auto levels = LevelBytes(type);
    if (levels.empty()) return;
    std::vector<std::byte> no_levels = bytes;  // with all levels 0 a block decodes to its offsets
    for (size_t block = 1; block < bytes.size();
         block += static_cast<size_t>(Info(type).block_bytes)) {
      std::fill_n(no_levels.begin() + static_cast<ptrdiff_t>(block) + levels.begin, levels.size(),
                  std::byte{0});
    }
    DecodeRow(type, no_levels.data() + 1, offsets);
  }
};

inline std::vector<float> RunMatMul(Device& device, const std::vector<float>& x, int64_t rows,
                                    const Weight& w, ActivationType activation) {
  std::vector<float> out(static_cast<size_t>(rows * w.rows), std::nanf(""));
  device.MatMul(Mat<const float>(x.data(), rows, w.cols), w, activation, View(out, rows, w.rows));
  return out;
}

// Each product is rounded on its own at worst, with, for bytes, both scales and the group's sum;
// the reference's decoded value may be a rounded difference. Rounding to bytes moves x by up to
// half a step.
inline void CheckMatMul(Device& device, DType type, ActivationType activation, int64_t tokens,
                        int64_t rows, int64_t cols) {
  const TestWeight w(type, rows, cols, 11);
  const auto x = NormalValues(tokens * cols, 12);
  const auto reference = MakeReferenceDevice();
  std::vector<double> bound;
  for (int64_t t = 0; t < tokens; ++t) {
    float amax = 0;
    for (int64_t k = 0; k < cols; ++k)
      amax = std::max(amax, std::abs(x[static_cast<size_t>(t * cols + k)]));
    const double half_step = activation != ActivationType::kF32 ? amax / 253.0 : 0;
    for (int64_t n = 0; n < rows; ++n) {
      double magnitude = 0;
      for (int64_t k = 0; k < cols; ++k) {
        const auto i = static_cast<size_t>(n * cols + k);
        magnitude += (std::abs(x[static_cast<size_t>(t * cols + k)]) + half_step) *
                     (std::abs(w.values[i]) + 2 * std::abs(w.offsets[i]));
      }
      bound.push_back(Gamma(cols + 5) * magnitude);
    }
  }
  ExpectWithin(RunMatMul(device, x, tokens, w.weight, activation),
               RunMatMul(*reference, x, tokens, w.weight, activation), bound,
               std::string(Info(type).name));
}

// float32 matrices of a low rank, from normal values.
struct TestLowRank {
  TestWeight down, up;
  LowRank low_rank;

  TestLowRank(int64_t rows, int64_t cols, int64_t rank, uint64_t seed)
      : down(DType::kF32, rank, cols, seed),
        up(DType::kF32, rows, rank, seed + 1),
        low_rank{down.weight, up.weight, 1.5f} {}
  TestLowRank(const TestLowRank&) = delete;
};

// What a low rank adds is the product of sums of cols and of rank terms.
inline void CheckLowRank(Device& device, DType type, ActivationType activation, int64_t tokens,
                         int64_t rows, int64_t cols, int64_t rank) {
  TestWeight w(type, rows, cols, 11);
  const TestLowRank added(rows, cols, rank, 13);
  const auto x = NormalValues(tokens * cols, 12);
  const auto alone = RunMatMul(device, x, tokens, w.weight, activation);
  w.weight.low_rank = &added.low_rank;
  const auto got = RunMatMul(device, x, tokens, w.weight, activation);
  std::vector<float> expected;
  std::vector<double> bound;
  for (size_t t = 0; t < static_cast<size_t>(tokens); ++t) {
    for (size_t n = 0; n < static_cast<size_t>(rows); ++n) {
      double sum = 0, magnitude = 0;
      for (size_t r = 0; r < static_cast<size_t>(rank); ++r) {
        for (size_t k = 0; k < static_cast<size_t>(cols); ++k) {
          const double term = 1.5 * double{added.up.values[n * static_cast<size_t>(rank) + r]} *
                              double{added.down.values[r * static_cast<size_t>(cols) + k]} *
                              double{x[t * static_cast<size_t>(cols) + k]};
          sum += term;
          magnitude += std::abs(term);
        }
      }
      const double before = double{alone[t * static_cast<size_t>(rows) + n]};
      expected.push_back(static_cast<float>(before + sum));
      bound.push_back(Gamma(cols + rank + 8) * (magnitude + std::abs(before)));
    }
  }
  ExpectWithin(got, expected, bound, std::string(Info(type).name) + " with a low rank");
}

// The sum of squares errs by Gamma(cols), its root by half of that; six roundings around it.
inline void CheckRmsNorm(Device& device, int64_t rows, int64_t cols) {
  const auto x = NormalValues(rows * cols, 21, 3);
  const auto weight = NormalValues(cols, 22);
  std::vector<float> got(x), expected(x.size());
  device.RmsNorm(View(got, rows, cols), weight, 1e-5f, View(got, rows, cols));  // in place
  MakeReferenceDevice()->RmsNorm(Mat<const float>(x.data(), rows, cols), weight, 1e-5f,
                                 View(expected, rows, cols));
  std::vector<double> bound;
  for (const float value : expected)
    bound.push_back((Gamma(cols) / 2 + Gamma(8)) * std::abs(value));
  ExpectWithin(got, expected, bound, "RmsNorm");
}

// Cosine, sine, two products and a sum are rounded once each, and the reference's result.
inline void CheckRope(Device& device, int64_t rows, int64_t heads, int64_t head_dim,
                      RopeLayout layout) {
  const auto x = NormalValues(rows * heads * head_dim, 31);
  std::vector<int64_t> positions;
  for (int64_t t = 0; t < rows; ++t) positions.push_back(t * t * 997 % 100000);
  std::vector<double> inv_freq;
  for (int64_t i = 0; i < head_dim / 2; ++i) {
    inv_freq.push_back(
        std::pow(1e6, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim)));
  }
  std::vector<float> got(x), expected(x);
  device.Rope(View(got, rows, heads * head_dim), head_dim, positions, inv_freq, layout);
  MakeReferenceDevice()->Rope(View(expected, rows, heads * head_dim), head_dim, positions, inv_freq,
                              layout);
  std::vector<double> bound;
  const int64_t half = head_dim / 2;
  for (size_t i = 0; i < x.size(); ++i) {
    const auto d = static_cast<int64_t>(i) % head_dim, head = static_cast<int64_t>(i) - d;
    const int64_t pair = d % half;
    const bool interleaved = layout == RopeLayout::kInterleaved;
    const auto a = static_cast<size_t>(head + (interleaved ? 2 * pair : pair));
    const auto b = static_cast<size_t>(head + (interleaved ? 2 * pair + 1 : pair + half));
    bound.push_back(5 * kU * (std::abs(x[a]) + std::abs(x[b])));
  }
  ExpectWithin(got, expected, bound, "Rope");

  // The same heads in the other layout leave as the same bits.
  std::vector<float> other(x);
  for (size_t head = 0; head < x.size(); head += static_cast<size_t>(head_dim)) {
    for (int64_t i = 0; i < half; ++i) {
      for (const auto& [split, pair] : {std::pair{i, 2 * i}, {i + half, 2 * i + 1}}) {
        const bool interleaved = layout == RopeLayout::kInterleaved;
        other[head + static_cast<size_t>(interleaved ? split : pair)] =
            x[head + static_cast<size_t>(interleaved ? pair : split)];
      }
    }
  }
  device.Rope(
      View(other, rows, heads * head_dim), head_dim, positions, inv_freq,
      layout == RopeLayout::kInterleaved ? RopeLayout::kHalfSplit : RopeLayout::kInterleaved);
  EXPECT_EQ(other, got);
}

// e^x within 4u where it is normal; sum, quotient, product and the reference's result one u each.
// Where e^-x overflows, silu is below 3e-37.
inline void CheckSwiGlu(Device& device, int64_t rows, int64_t cols) {
  auto gate = NormalValues(rows * cols, 41, 5);
  const auto up = NormalValues(rows * cols, 42);
  const float extremes[] = {0.0f, -0.0f, 87.0f, -87.0f, 88.8f, -88.8f, 1e4f, -1e4f, 3e37f};
  for (size_t i = 0; i < std::min(gate.size(), std::size(extremes)); ++i) gate[i] = extremes[i];
  std::vector<float> got(gate), expected(gate.size());
  device.SwiGlu(View(got, rows, cols), Mat<const float>(up.data(), rows, cols),
                View(got, rows, cols));  // in place
  MakeReferenceDevice()->SwiGlu(View(gate, rows, cols), Mat<const float>(up.data(), rows, cols),
                                View(expected, rows, cols));
  std::vector<double> bound;
  for (size_t i = 0; i < gate.size(); ++i)
    bound.push_back(Gamma(9) * std::abs(expected[i]) + 3e-37 * std::abs(up[i]));
  ExpectWithin(got, expected, bound, "SwiGlu");
}

// Exact: a copy, and one rounding that everyone makes.
inline void CheckAddAndEmbed(Device& device, DType type, int64_t rows, int64_t cols) {
  const TestWeight table(type, 5, cols, 51);
  std::vector<int32_t> ids;
  for (int64_t t = 0; t < rows; ++t) ids.push_back(static_cast<int32_t>((3 * t + 1) % 5));
  std::vector<float> got(static_cast<size_t>(rows * cols)), expected(got.size());
  const auto reference = MakeReferenceDevice();
  device.Embed(table.weight, ids, View(got, rows, cols));
  reference->Embed(table.weight, ids, View(expected, rows, cols));
  EXPECT_EQ(got, expected) << Info(type).name;
  const auto y = NormalValues(rows * cols, 52);
  device.Add(View(got, rows, cols), Mat<const float>(y.data(), rows, cols), View(got, rows, cols));
  reference->Add(View(expected, rows, cols), Mat<const float>(y.data(), rows, cols),
                 View(expected, rows, cols));
  EXPECT_EQ(got, expected);
}

// Gather is exact; a combine of k choices is a sum of k products.
inline void CheckDispatch(Device& device, int64_t tokens, int64_t cols) {
  constexpr int64_t kChoices = 2;
  std::vector<int32_t> token_of_row, row_of_choice;
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t c = 0; c < kChoices; ++c) {
      const bool dropped =
          t % 4 == 3 || (t % 3 == 1 && c == 1);  // some tokens have one choice, some none
      row_of_choice.push_back(dropped ? -1 : static_cast<int32_t>(token_of_row.size()));
      if (!dropped) token_of_row.push_back(static_cast<int32_t>(t));
    }
  }
  const auto routed = std::ssize(token_of_row);
  const auto x = NormalValues(tokens * cols, 61);
  const auto gates = NormalValues(tokens * kChoices, 62);
  const DispatchView plan = {token_of_row,
                             Mat<const int32_t>(row_of_choice.data(), tokens, kChoices),
                             Mat<const float>(gates.data(), tokens, kChoices)};
  std::vector<float> rows(static_cast<size_t>(routed * cols));
  device.GatherRows(Mat<const float>(x.data(), tokens, cols), plan, View(rows, routed, cols));
  for (int64_t r = 0; r < routed; ++r) {
    const auto token = static_cast<int64_t>(token_of_row[static_cast<size_t>(r)]);
    EXPECT_TRUE(std::equal(rows.begin() + r * cols, rows.begin() + (r + 1) * cols,
                           x.begin() + token * cols));
  }
  std::vector<float> got(x.size(), std::nanf("")), expected(x.size());
  device.CombineRows(View(rows, routed, cols), plan, View(got, tokens, cols));
  MakeReferenceDevice()->CombineRows(View(rows, routed, cols), plan, View(expected, tokens, cols));
  std::vector<double> bound;
  for (size_t i = 0; i < x.size(); ++i) {
    const auto gate = gates.begin() + static_cast<int64_t>(i) / cols * kChoices;
    bound.push_back(Gamma(kChoices + 2) * std::abs(x[i]) * (std::abs(gate[0]) + std::abs(gate[1])));
  }
  ExpectWithin(got, expected, bound, "CombineRows");
}

}  // namespace cadre
