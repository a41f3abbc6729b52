// Every backward operation but attention, on every instruction set of this machine.
#include "cpu/cpu_backward_testing.h"

namespace cadre {
namespace {

class CpuBackward : public CpuBackwardTest {};

INSTANTIATE_TEST_SUITE_P(Isas, CpuBackward, testing::ValuesIn(IsasHere()),
                         [](const auto& param) { return std::string(IsaName(param.param)); });

TEST_P(CpuBackward, EmbedHasTheBitsOfTheReference) {
  for (const int64_t cols : {1, 7, 64, 130}) {
    std::vector<int32_t> ids;
    for (int32_t t = 0; t < 40; ++t) ids.push_back(t * t % 5);
    auto d_out = NormalValues(40 * cols, 1);
    const auto run = [&](BackwardOps& ops) {
      auto d_table = NormalValues(6 * cols, 2);
      ops.EmbedBackward(ids, View(d_out, 40, cols), View(d_table, 6, cols));
      return Outputs{d_table};
    };
    EXPECT_EQ(run(*one_ops_), run(*reference_));
    EXPECT_EQ(run(*three_ops_), run(*reference_));
  }
}

// r is good to (n / 2 + 4) u relative, its cube to three times that, the projection to (n + 3) u of
// its magnitudes.
TEST_P(CpuBackward, RmsNormAgrees) {
  for (const auto& shape :
       std::vector<std::pair<int64_t, int64_t>>{{0, 8}, {1, 1}, {3, 7}, {150, 40}, {65, 256}}) {
    const int64_t rows = shape.first, cols = shape.second;
    auto x = NormalValues(rows * cols, 1), d_out = NormalValues(rows * cols, 3);
    const auto weight = NormalValues(cols, 2);
    const auto run = [&](BackwardOps& ops) {
      auto d_x = NormalValues(rows * cols, 4), d_weight = NormalValues(cols, 5);
      ops.RmsNormBackward(View(x, rows, cols), weight, 1e-5f, View(d_out, rows, cols),
                          View(d_x, rows, cols), d_weight);
      return Outputs{d_x, d_weight};
    };
    // Magnitudes of both terms of d_x, and of the terms of d_weight with what it starts from.
    auto magnitude_x = std::vector<double>(x.size());
    auto magnitude_weight = Doubles(Magnitudes(NormalValues(cols, 5)));
    const auto n = static_cast<size_t>(cols);
    for (size_t row = 0; row < x.size(); row += n) {
      double squares = 0, projection = 0;
      for (size_t i = 0; i < n; ++i) {
        squares += double{x[row + i]} * double{x[row + i]};
        projection += std::abs(double{weight[i]} * double{d_out[row + i]} * double{x[row + i]});
      }
      const double r = 1 / std::sqrt(squares / static_cast<double>(n) + 1e-5);
      for (size_t i = 0; i < n; ++i) {
        const double value = std::abs(double{x[row + i]}), d = std::abs(double{d_out[row + i]});
        magnitude_x[row + i] = r * d * std::abs(double{weight[i]}) +
                               value * r * r * r * projection / static_cast<double>(n);
        magnitude_weight[i] += r * d * value;
      }
    }
    Expect(run, [&](size_t output, size_t i) {
      if (output == 0) return (2.5 * static_cast<double>(cols) + 24) * kU * magnitude_x[i];
      return static_cast<double>(rows + cols + 12) * kU * magnitude_weight[i];
    });
  }
}

// BF16: products of rounded factors are exact in float32, so the same bound holds.
TEST_P(CpuBackward, MatMulAgreesForEveryShapeAndPrecision) {
  const std::vector<std::array<int64_t, 3>> shapes = {
      {0, 5, 7},     {1, 1, 1},      {3, 7, 5},     {2, 65, 33},  {7, 33, 31},
      {14, 32, 64},  {29, 64, 70},   {65, 100, 80}, {300, 9, 40}, {13, 270, 8},
      {40, 30, 530}, {270, 290, 17}, {700, 60, 530}};
  for (size_t run = 0; run < 4 * shapes.size(); ++run) {
    const auto activation = run % 2 == 0 ? ActivationType::kF32 : ActivationType::kBF16;
    const auto into = run % 4 < 2 ? Into::kSum : Into::kFresh;
    const int64_t t = shapes[run / 4][0], n = shapes[run / 4][1], k = shapes[run / 4][2];
    SCOPED_TRACE(testing::Message() << "T " << t << " N " << n << " K " << k << " precision "
                                    << static_cast<int>(activation));
    auto x = NormalValues(t * k, 1), w = NormalValues(n * k, 2), d_out = NormalValues(t * n, 3);
    const auto product = [&](BackwardOps& ops, auto& xs, auto& ws, auto& ds, auto d_x, auto d_w) {
      ops.MatMulBackward(View(xs, t, k), View(ws, n, k), View(ds, t, n), activation, into,
                         View(d_x, t, k), View(d_w, n, k));
      return Outputs{d_x, d_w};
    };
    const auto initial_x = NormalValues(t * k, 4), initial_w = NormalValues(n * k, 5);
    auto abs_x = Magnitudes(x), abs_w = Magnitudes(w), abs_d = Magnitudes(d_out);
    const Outputs magnitudes =
        product(*reference_, abs_x, abs_w, abs_d, Magnitudes(initial_x), Magnitudes(initial_w));
    Expect([&](BackwardOps& ops) { return product(ops, x, w, d_out, initial_x, initial_w); },
           [&](size_t output, size_t i) {
             return static_cast<double>((output == 0 ? n : t) + 4) * kU *
                    double{magnitudes[output][i]};
           });
  }
}

TEST_P(CpuBackward, MatMulReadsStridedRowsAndLeavesOutWhatIsEmpty) {
  auto x = NormalValues(20 * 12, 1), w = NormalValues(9 * 11, 2), d_out = NormalValues(20 * 10, 3);
  auto activation = ActivationType::kF32;
  const auto run = [&](BackwardOps& ops, bool want_x, bool want_w) {
    auto d_x = NormalValues(20 * 10, 4), d_w = NormalValues(9 * 9, 5);
    ops.MatMulBackward({x.data(), 20, 8, 12}, {w.data(), 9, 8, 11}, {d_out.data(), 20, 9, 10},
                       activation, Into::kSum,
                       want_x ? Mat<float>{d_x.data(), 20, 8, 10} : Mat<float>{},
                       want_w ? Mat<float>{d_w.data(), 9, 8, 9} : Mat<float>{});
    return Outputs{d_x, d_w};
  };
  for (const auto precision : {ActivationType::kF32, ActivationType::kBF16}) {
    activation = precision;
    Expect([&](BackwardOps& ops) { return run(ops, true, true); },
           [](size_t, size_t) { return 30 * kU * 60; });
    const Outputs both = run(*one_ops_, true, true), none = run(*one_ops_, false, false);
    EXPECT_EQ(run(*one_ops_, true, false), (Outputs{both[0], none[1]}));
    EXPECT_EQ(run(*one_ops_, false, true), (Outputs{none[0], both[1]}));
    EXPECT_EQ(none, (Outputs{NormalValues(20 * 10, 4), NormalValues(9 * 9, 5)}));
  }
}

// d_x of a row does not depend on the rows beside it, though few rows and many are computed
// differently.
TEST_P(CpuBackward, MatMulRowsAreIndependent) {
  auto x = NormalValues(100 * 300, 1), w = NormalValues(290 * 300, 2),
       d_out = NormalValues(100 * 290, 3);
  for (const auto activation : {ActivationType::kF32, ActivationType::kBF16}) {
    std::vector<float> all(100 * 300), few(3 * 300);
    one_ops_->MatMulBackward(View(x, 100, 300), View(w, 290, 300), View(d_out, 100, 290),
                             activation, Into::kSum, View(all, 100, 300), {});
    one_ops_->MatMulBackward(View(x, 3, 300), View(w, 290, 300), View(d_out, 3, 290), activation,
                             Into::kSum, View(few, 3, 300), {});
    EXPECT_EQ(few, std::vector<float>(all.begin(), all.begin() + 900));
  }
}

// Slabs of a stored weight give the bits of the whole one in float32.
TEST_P(CpuBackward, MatMulInputHasTheBitsOfTheDecodedWeight) {
  for (const DType type : {DType::kF32, DType::kBF16, DType::kQ8_0, DType::kQ4_K, DType::kQ6_K}) {
    for (const auto activation : {ActivationType::kF32, ActivationType::kBF16}) {
      for (const int64_t tokens : {3, 100}) {
        const Into into = tokens == 3 ? Into::kSum : Into::kFresh;
        const TestWeight w(type, 1100, 256, 1);
        auto values = w.values;
        auto d_out = NormalValues(tokens * 1100, 2), x = NormalValues(tokens * 256, 3);
        auto d_x = NormalValues(tokens * 256, 4), expected = d_x;
        one_ops_->MatMulInputBackward(w.weight, View(d_out, tokens, 1100), activation, into,
                                      View(d_x, tokens, 256));
        one_ops_->MatMulBackward(View(x, tokens, 256), View(values, 1100, 256),
                                 View(d_out, tokens, 1100), activation, into,
                                 View(expected, tokens, 256), {});
        EXPECT_EQ(d_x, expected) << Info(type).name << " of " << tokens << " tokens";
      }
    }
  }
}

// Also of weights in slabs, and with what is added to them.
TEST_P(CpuBackward, ForwardMatMulAgreesForEveryStoredType) {
  const TestLowRank added(1100, 256, 3, 5);
  for (const DType type : {DType::kF32, DType::kBF16, DType::kQ8_0, DType::kQ4_K, DType::kQ6_K}) {
    TestWeight w(type, 1100, 256, 1);
    for (const LowRank* low_rank : {static_cast<const LowRank*>(nullptr), &added.low_rank}) {
      w.weight.low_rank = low_rank;
      const auto x = NormalValues(20 * 256, 2);
      const auto run = [&](BackwardOps& ops) {
        std::vector<float> out(20 * 1100, std::nanf(""));
        ops.MatMul({x.data(), 20, 256}, w.weight, View(out, 20, 1100));
        return Outputs{out};
      };
      const auto magnitudes = Magnitudes(x), weights = Magnitudes(w.values);
      Expect(run, [&](size_t, size_t i) {
        double sum = 0;
        for (size_t k = 0; k < 256; ++k) {
          double weight = double{weights[i % 1100 * 256 + k]};
          for (size_t r = 0; low_rank != nullptr && r < 3; ++r)
            weight += 1.5 * std::abs(double{added.up.values[i % 1100 * 3 + r]} *
                                     double{added.down.values[r * 256 + k]});
          sum += double{magnitudes[i / 1100 * 256 + k]} * weight;
        }
        return 270 * kU * sum;  // 256 and 3 terms, and a few roundings between
      });
      std::vector<float> few(3 * 1100);
      one_ops_->MatMul({x.data(), 3, 256}, w.weight, View(few, 3, 1100));
      const auto all = run(*one_ops_)[0];
      EXPECT_EQ(few, std::vector<float>(all.begin(), all.begin() + 3300))
          << "rows depend on others";
    }
  }
}

// Two products, each rounded once, of factors rounded once.
TEST_P(CpuBackward, RopeAgrees) {
  for (const int64_t dim : {2, 6, 40}) {
    std::vector<double> inv_freq;
    for (int64_t i = 0; i < dim / 2; ++i)
      inv_freq.push_back(
          std::pow(10000.0, -2.0 * static_cast<double>(i) / static_cast<double>(dim)));
    const std::vector<int64_t> positions = {0, 1, 2, 0, 500, 1000000};
    const auto magnitudes = Magnitudes(NormalValues(6 * 3 * dim, 1));
    const double most = *std::max_element(magnitudes.begin(), magnitudes.end());
    const auto run = [&](BackwardOps& ops) {
      auto d_x = NormalValues(6 * 3 * dim, 1);
      auto neighbours = d_x;
      ops.RopeBackward(View(d_x, 6, 3 * dim), dim, positions, inv_freq, RopeLayout::kHalfSplit);
      ops.RopeBackward(View(neighbours, 6, 3 * dim), dim, positions, inv_freq,
                       RopeLayout::kInterleaved);
      return Outputs{d_x, neighbours};
    };
    Expect(run, [&](size_t, size_t) { return 6 * kU * most; });
  }
}

// The sigmoid is good to Exp's error and three roundings; silu' adds a product of magnitude up to 1
// + |g|.
TEST_P(CpuBackward, SwiGluAgrees) {
  for (const auto& shape :
       std::vector<std::pair<int64_t, int64_t>>{{0, 3}, {1, 1}, {3, 7}, {20, 100}}) {
    const int64_t rows = shape.first, cols = shape.second;
    auto gate = NormalValues(rows * cols, 1, 4), up = NormalValues(rows * cols, 2),
         d_out = NormalValues(rows * cols, 3);
    if (rows == 20) {
      gate[0] = 100;
      gate[1] = -100;
      gate[2] = 0;
    }
    const auto initial = NormalValues(rows * cols, 4);
    const auto run = [&](BackwardOps& ops) {
      auto d_gate = initial, d_up = initial;
      ops.SwiGluBackward(View(gate, rows, cols), View(up, rows, cols), View(d_out, rows, cols),
                         View(d_gate, rows, cols), View(d_up, rows, cols));
      return Outputs{d_gate, d_up};
    };
    Expect(run, [&](size_t output, size_t i) {
      const double g = std::abs(double{gate[i]}), d = std::abs(double{d_out[i]});
      const double size = output == 0 ? d * std::abs(double{up[i]}) : d;
      return (2 * kExpError + 8 * kU) * (1 + g) * size;
    });
  }
}

struct RoutedRows {
  int64_t num_tokens, num_rows = 0;
  std::vector<int32_t> token_of_row, row_of_choice;
  std::vector<float> gates;

  // Two choices of each token, some of them dropped, rows in an order of their own.
  explicit RoutedRows(int64_t tokens) : num_tokens(tokens), gates(NormalValues(tokens * 2, 8)) {
    row_of_choice.assign(static_cast<size_t>(2 * tokens), -1);
    for (int64_t c = 0; c < 2 * tokens; ++c) {
      const int64_t choice = (c * 7 + 3) % (2 * tokens);
      if (choice % 5 == 2 || row_of_choice[static_cast<size_t>(choice)] >= 0) continue;
      row_of_choice[static_cast<size_t>(choice)] = static_cast<int32_t>(num_rows++);
      token_of_row.push_back(static_cast<int32_t>(choice / 2));
    }
  }
  DispatchView view() const {
    return {token_of_row, {row_of_choice.data(), num_tokens, 2}, {gates.data(), num_tokens, 2}};
  }
};

// At most three numbers are added up, of magnitude below 6 (asserted by the seed) each.
TEST_P(CpuBackward, GatherRowsAgrees) {
  for (const int64_t cols : {1, 7, 48, 100}) {
    const RoutedRows routed(19);
    auto d_rows = NormalValues(routed.num_rows * cols, 1);
    const auto run = [&](BackwardOps& ops) {
      auto d_x = NormalValues(19 * cols, 2);
      ops.GatherRowsBackward(routed.view(), View(d_rows, routed.num_rows, cols),
                             View(d_x, 19, cols));
      return Outputs{d_x};
    };
    Expect(run, [](size_t, size_t) { return 3 * kU * 18; });
  }
}

TEST_P(CpuBackward, CombineRowsAgrees) {
  for (const int64_t cols : {1, 7, 48, 100}) {
    const RoutedRows routed(19);
    auto rows = NormalValues(routed.num_rows * cols, 1), d_out = NormalValues(19 * cols, 2);
    const auto run = [&](BackwardOps& ops) {
      auto d_rows = NormalValues(routed.num_rows * cols, 3), d_gates = NormalValues(19 * 2, 4);
      ops.CombineRowsBackward(View(rows, routed.num_rows, cols), routed.view(),
                              View(d_out, 19, cols), View(d_rows, routed.num_rows, cols),
                              View(d_gates, 19, 2));
      return Outputs{d_rows, d_gates};
    };
    // One product below 36 into a sum; a sum of cols such products, of magnitude 2/pi each on
    // average, 2 to be safe.
    Expect(run, [&](size_t output, size_t) {
      return output == 0 ? 2 * kU * 36
                         : static_cast<double>(cols + 2) * kU * 2 * static_cast<double>(cols + 6);
    });
  }
}

// A softmax is good to Exp's error, the rounding of logit - max, and the sum's n roundings; the
// loss to the same, absolute.
TEST_P(CpuBackward, CrossEntropyAgrees) {
  for (const int64_t cols : {1, 7, 40, 1000}) {
    std::vector<int32_t> targets = {0, static_cast<int32_t>(cols - 1), -1,
                                    static_cast<int32_t>(cols / 2), -100};
    const auto logits = NormalValues(5 * cols, 1, 5);
    const auto run = [&](BackwardOps& ops) {
      auto gradient = logits;
      std::vector<float> losses(5, 3.0f);
      ops.CrossEntropy(View(gradient, 5, cols), targets, 0.5f, losses);
      return Outputs{gradient, losses};
    };
    const double relative = 2 * kExpError + static_cast<double>(cols + 60) * kU;
    Expect(run, [&](size_t output, size_t) {
      return output == 0 ? 0.5 * relative : relative + 20 * kU;
    });
  }
}

TEST_P(CpuBackward, CrossEntropyOfHugeAndMaskedLogitsIsFinite) {
  std::vector<float> logits = {1e30f, -1e30f, -std::numeric_limits<float>::infinity(), 0};
  std::vector<float> losses(1);
  one_ops_->CrossEntropy(View(logits, 1, 4), std::vector<int32_t>{0}, 1.0f, losses);
  EXPECT_EQ(losses[0], 0.0f);
  EXPECT_EQ(logits, (std::vector<float>{0, 0, 0, 0}));
}

// A moment is two products and a sum; the update a square root, a quotient and a handful of
// products: 16 roundings in all.
TEST_P(CpuBackward, AdamWAgrees) {
  for (const int64_t size : {0, 1, 7, 100, 40000}) {
    const auto gradient = NormalValues(size, 1);
    const AdamWSettings settings = {.learning_rate = 0.01f,
                                    .epsilon = 1e-8f,
                                    .weight_decay = 0.1f,
                                    .gradient_scale = 0.7f,
                                    .step = 3};
    const auto parameter = NormalValues(size, 2), moment1 = NormalValues(size, 3, 0.1);
    const auto moment2 = Magnitudes(NormalValues(size, 4, 0.1));
    const auto run = [&](BackwardOps& ops) {
      Outputs state = {parameter, moment1, moment2};
      ops.AdamW(state[0], gradient, state[1], state[2], settings);
      return state;
    };
    Expect(run, [&](size_t output, size_t i) {
      const double g = std::abs(double{gradient[i]}) * 0.7, m = std::abs(double{moment1[i]}) + g;
      const double v = double{moment2[i]} * 0.95 + 0.05 * g * g;
      if (output == 1) return 4 * kU * m;
      if (output == 2) return 6 * kU * v;
      return 4 * kU * std::abs(double{parameter[i]}) +
             16 * kU * 0.01 * 4 * m / (std::sqrt(v) + 1e-8);
    });
  }
}

// Double sums: only their order differs.
TEST_P(CpuBackward, SumOfSquaresAgrees) {
  for (const int64_t size : {0, 1, 17, 16384, 50001}) {
    const auto values = NormalValues(size, 1);
    const double expected = reference_->SumOfSquares(values),
                 actual = one_ops_->SumOfSquares(values);
    EXPECT_NEAR(actual, expected, static_cast<double>(size) * 0x1p-53 * expected);
    EXPECT_EQ(three_ops_->SumOfSquares(values), actual);
  }
}

}  // namespace
}  // namespace cadre
