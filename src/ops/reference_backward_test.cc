// The reference backward against central differences of a forward written here from the definition,
// in double. The step is 1e-5, so the differences are good to about 1e-9 of the loss's scale; what
// remains is the rounding of a gradient to float.
#include <gtest/gtest.h>

#include <functional>

#include "ops/backward_test_cases.h"
#include "ops/device_test_cases.h"

namespace cadre {
namespace {

using Loss = std::function<double(const std::vector<double>&)>;

// What `gradient` has beyond `initial` must be the derivative of `loss` at `at`.
void ExpectGradient(const Loss& loss, const std::vector<float>& at,
                    const std::vector<float>& gradient, const std::vector<float>& initial,
                    double tolerance = 2e-6) {
  ASSERT_EQ(at.size(), gradient.size());
  std::vector<double> point = Doubles(at);
  for (size_t i = 0; i < at.size(); ++i) {
    point[i] = double{at[i]} + 1e-5;
    const double above = loss(point);
    point[i] = double{at[i]} - 1e-5;
    const double slope = (above - loss(point)) / 2e-5;
    point[i] = at[i];
    EXPECT_NEAR(double{gradient[i]} - double{initial[i]}, slope, tolerance * (1 + std::abs(slope)))
        << "element " << i;
  }
}

double Dot(const std::vector<double>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * double{b[i]};
  return sum;
}

const std::unique_ptr<BackwardOps> kOps = MakeReferenceBackward();

TEST(ReferenceBackward, EmbedAddsRowsOfTheSameToken) {
  const std::vector<int32_t> ids = {2, 0, 2};
  std::vector<float> d_out = {1, 2, 3, 4, 5, 6}, d_table = {10, 10, 20, 20, 30, 30};
  kOps->EmbedBackward(ids, View(d_out, 3, 2), View(d_table, 3, 2));
  EXPECT_EQ(d_table, (std::vector<float>{13, 14, 20, 20, 36, 38}));
}

TEST(ReferenceBackward, RmsNormIsTheDerivative) {
  auto x = NormalValues(3 * 5, 1), weight = NormalValues(5, 2), d_out = NormalValues(15, 3);
  const auto initial = NormalValues(15, 4);
  auto d_x = initial, d_weight = std::vector<float>(initial.begin(), initial.begin() + 5);
  const auto initial_weight = d_weight;
  kOps->RmsNormBackward(View(x, 3, 5), weight, 0.1f, View(d_out, 3, 5), View(d_x, 3, 5), d_weight);
  const auto loss = [&](const std::vector<double>& xs, const std::vector<double>& ws) {
    double sum = 0;
    for (size_t t = 0; t < 3; ++t) {
      double squares = 0;
      for (size_t i = 0; i < 5; ++i) squares += xs[5 * t + i] * xs[5 * t + i] / 5;
      for (size_t i = 0; i < 5; ++i) {
        sum += double{d_out[5 * t + i]} * ws[i] * xs[5 * t + i] / std::sqrt(squares + double{0.1f});
      }
    }
    return sum;
  };
  ExpectGradient([&](const auto& xs) { return loss(xs, Doubles(weight)); }, x, d_x, initial);
  ExpectGradient([&](const auto& ws) { return loss(Doubles(x), ws); }, weight, d_weight,
                 initial_weight);
}

TEST(ReferenceBackward, MatMulIsTheDerivative) {
  auto x = NormalValues(3 * 4, 1), w = NormalValues(2 * 4, 2), d_out = NormalValues(3 * 2, 3);
  const auto initial_x = NormalValues(12, 4), initial_w = NormalValues(8, 5);
  auto d_x = initial_x, d_w = initial_w;
  kOps->MatMulBackward(View(x, 3, 4), View(w, 2, 4), View(d_out, 3, 2), ActivationType::kF32,
                       Into::kSum, View(d_x, 3, 4), View(d_w, 2, 4));
  const auto loss = [&](const std::vector<double>& xs, const std::vector<double>& ws) {
    double sum = 0;
    for (size_t t = 0; t < 3; ++t) {
      for (size_t n = 0; n < 2; ++n) {
        for (size_t k = 0; k < 4; ++k)
          sum += double{d_out[2 * t + n]} * xs[4 * t + k] * ws[4 * n + k];
      }
    }
    return sum;
  };
  ExpectGradient([&](const auto& xs) { return loss(xs, Doubles(w)); }, x, d_x, initial_x);
  ExpectGradient([&](const auto& ws) { return loss(Doubles(x), ws); }, w, d_w, initial_w);
  auto only_x = initial_x, only_w = initial_w;
  kOps->MatMulBackward(View(x, 3, 4), View(w, 2, 4), View(d_out, 3, 2), ActivationType::kF32,
                       Into::kSum, View(only_x, 3, 4), {});
  kOps->MatMulBackward(View(x, 3, 4), View(w, 2, 4), View(d_out, 3, 2), ActivationType::kF32,
                       Into::kSum, {}, View(only_w, 2, 4));
  EXPECT_EQ(only_x, d_x);
  EXPECT_EQ(only_w, d_w);
  auto fresh = initial_x, from_zero = std::vector<float>(12);
  kOps->MatMulBackward(View(x, 3, 4), View(w, 2, 4), View(d_out, 3, 2), ActivationType::kF32,
                       Into::kFresh, View(fresh, 3, 4), {});
  kOps->MatMulBackward(View(x, 3, 4), View(w, 2, 4), View(d_out, 3, 2), ActivationType::kF32,
                       Into::kSum, View(from_zero, 3, 4), {});
  EXPECT_EQ(fresh, from_zero);
}

TEST(ReferenceBackward, MatMulInputIsThatOfTheDecodedWeight) {
  const TestWeight w(DType::kQ8_0, 5, 64, 1);
  auto values = w.values;
  auto d_out = NormalValues(3 * 5, 2), x = NormalValues(3 * 64, 3);
  auto d_x = NormalValues(3 * 64, 4), expected = d_x;
  kOps->MatMulInputBackward(w.weight, View(d_out, 3, 5), ActivationType::kF32, Into::kSum,
                            View(d_x, 3, 64));
  kOps->MatMulBackward(View(x, 3, 64), View(values, 5, 64), View(d_out, 3, 5), ActivationType::kF32,
                       Into::kSum, View(expected, 3, 64), {});
  EXPECT_EQ(d_x, expected);
}

TEST(ReferenceBackward, MatMulIsTheDevices) {
  TestWeight w(DType::kQ8_0, 5, 64, 1);
  const TestLowRank added(5, 64, 2, 3);
  w.weight.low_rank = &added.low_rank;
  const auto x = NormalValues(3 * 64, 2);
  std::vector<float> out(15);
  kOps->MatMul({x.data(), 3, 64}, w.weight, View(out, 3, 5));
  const auto device = MakeReferenceDevice();
  EXPECT_EQ(out, RunMatMul(*device, x, 3, w.weight, ActivationType::kF32));
}

TEST(ReferenceBackward, RopeOfNeighboursIsThatOfHalvesInTheirOrder) {
  const std::vector<int64_t> positions = {0, 7, 100};
  const std::vector<double> inv_freq = {1.0, 0.1, 0.01};
  auto halves = NormalValues(3 * 12, 1), neighbours = halves;
  kOps->RopeBackward(View(halves, 3, 12), 6, positions, inv_freq, RopeLayout::kHalfSplit);
  kOps->RopeBackward(View(neighbours, 3, 12), 6, positions, inv_freq, RopeLayout::kInterleaved);
  for (size_t head = 0; head < halves.size(); head += 6) {
    for (size_t i = 0; i < 3; ++i) {
      EXPECT_EQ(neighbours[head + 2 * i], halves[head + i]);
      EXPECT_EQ(neighbours[head + 2 * i + 1], halves[head + 3 + i]);
    }
  }
}

TEST(ReferenceBackward, RopeIsTheDerivative) {
  const std::vector<int64_t> positions = {0, 7, 100};
  const std::vector<double> inv_freq = {1.0, 0.1};
  auto x = NormalValues(3 * 8, 1);
  const auto d_out = NormalValues(3 * 8, 2);
  auto d_x = d_out;
  kOps->RopeBackward(View(d_x, 3, 8), 4, positions, inv_freq, RopeLayout::kHalfSplit);
  const auto loss = [&](const std::vector<double>& xs) {
    std::vector<double> rotated = xs;
    for (size_t t = 0; t < 3; ++t) {
      for (size_t pair = 0; pair < 4; ++pair) {
        const size_t i = pair % 2, a = 8 * t + pair / 2 * 4 + i, b = a + 2;
        const double angle = static_cast<double>(positions[t]) * inv_freq[i];
        rotated[a] = xs[a] * std::cos(angle) - xs[b] * std::sin(angle);
        rotated[b] = xs[a] * std::sin(angle) + xs[b] * std::cos(angle);
      }
    }
    return Dot(rotated, d_out);
  };
  ExpectGradient(loss, x, d_x, std::vector<float>(24));
}

void ExpectAttentionGradients(const AttentionCase& problem) {
  const auto q = Doubles(problem.q), k = Doubles(problem.k), v = Doubles(problem.v);
  auto d_q = NormalValues(std::ssize(q), 9), d_k = NormalValues(std::ssize(k), 10), d_v = d_k;
  const std::vector<float> zeros_q(q.size()), zeros_k(k.size());
  const int64_t q_cols = problem.num_heads * problem.dim,
                kv_cols = problem.num_kv_heads * problem.dim;
  problem.Run(*kOps, View(d_q, problem.rows, q_cols), View(d_k, problem.rows, kv_cols),
              View(d_v, problem.rows, kv_cols));
  const auto loss = [&](const auto& a, const auto& b, const auto& c) {
    return Dot(problem.Forward(a, b, c, nullptr), problem.d_out);
  };
  // out and lse are rounded to float, which costs the gradient a few 1e-7 times the number of
  // terms.
  ExpectGradient([&](const auto& p) { return loss(p, k, v); }, problem.q, d_q, zeros_q, 2e-5);
  ExpectGradient([&](const auto& p) { return loss(q, p, v); }, problem.k, d_k, zeros_k, 2e-5);
  ExpectGradient([&](const auto& p) { return loss(q, k, p); }, problem.v, d_v, zeros_k, 2e-5);
}

TEST(ReferenceBackward, AttentionIsTheDerivative) {
  ExpectAttentionGradients({4, 2, 4, 0, {5, 1, 3}, 20});
}

TEST(ReferenceBackward, AttentionHonoursTheWindow) {
  ExpectAttentionGradients({2, 1, 4, 3, {7}, 21});
}

// The case has the answers, computed in double and rounded.
TEST(ReferenceBackward, AttentionIsThatOfItsDefinition) {
  for (const int64_t window : {0, 3}) {
    const AttentionCase problem(4, 2, 4, window, {5, 1, 9}, 22);
    std::vector<float> out(problem.out.size()), lse(problem.lse.size());
    problem.RunForward(*kOps, View(out, problem.rows, 16), View(lse, problem.rows, 4));
    for (size_t i = 0; i < out.size(); ++i) EXPECT_NEAR(out[i], problem.out[i], 1e-6) << i;
    for (size_t i = 0; i < lse.size(); ++i) EXPECT_NEAR(lse[i], problem.lse[i], 1e-6) << i;
  }
}

TEST(ReferenceBackward, SwiGluIsTheDerivative) {
  auto gate = NormalValues(12, 1, 3), up = NormalValues(12, 2), d_out = NormalValues(12, 3);
  auto d_gate = NormalValues(12, 4), d_up = d_gate;
  const std::vector<float> zeros(12);
  kOps->SwiGluBackward(View(gate, 3, 4), View(up, 3, 4), View(d_out, 3, 4), View(d_gate, 3, 4),
                       View(d_up, 3, 4));
  const auto loss = [&](const std::vector<double>& gates, const std::vector<double>& ups) {
    double sum = 0;
    for (size_t i = 0; i < 12; ++i)
      sum += double{d_out[i]} * gates[i] / (1 + std::exp(-gates[i])) * ups[i];
    return sum;
  };
  ExpectGradient([&](const auto& p) { return loss(p, Doubles(up)); }, gate, d_gate, zeros);
  ExpectGradient([&](const auto& p) { return loss(Doubles(gate), p); }, up, d_up, zeros);
}

// Token 1's second choice was dropped; token 2 has none. Rows 0 .. 2 come from tokens 1, 0, 0.
struct Routed {
  std::vector<int32_t> token_of_row = {1, 0, 0};
  std::vector<int32_t> row_of_choice = {2, 1, 0, -1, -1, -1};
  std::vector<float> gates = {0.7f, 0.3f, 0.9f, 0.1f, 0.5f, 0.5f};
  DispatchView view() const {
    return {token_of_row, {row_of_choice.data(), 3, 2}, {gates.data(), 3, 2}};
  }
};

TEST(ReferenceBackward, GatherRowsSumsTheCopiesOfAToken) {
  const Routed routed;
  std::vector<float> d_rows = {1, 2, 3, 4, 5, 6}, d_x = {10, 10, 20, 20, 30, 30};
  kOps->GatherRowsBackward(routed.view(), View(d_rows, 3, 2), View(d_x, 3, 2));
  EXPECT_EQ(d_x, (std::vector<float>{8, 10, 1, 2, 0, 0}));
}

TEST(ReferenceBackward, CombineRowsIsTheDerivative) {
  const Routed routed;
  auto rows = NormalValues(3 * 4, 1), d_out = NormalValues(3 * 4, 2);
  auto d_rows = NormalValues(12, 3), d_gates = NormalValues(6, 4);
  kOps->CombineRowsBackward(View(rows, 3, 4), routed.view(), View(d_out, 3, 4), View(d_rows, 3, 4),
                            View(d_gates, 3, 2));
  const auto loss = [&](const std::vector<double>& row_values, const std::vector<double>& gates) {
    double sum = 0;
    for (size_t choice = 0; choice < 6; ++choice) {
      if (routed.row_of_choice[choice] < 0) continue;
      for (size_t i = 0; i < 4; ++i) {
        const auto row = static_cast<size_t>(routed.row_of_choice[choice]);
        sum += gates[choice] * row_values[4 * row + i] * double{d_out[choice / 2 * 4 + i]};
      }
    }
    return sum;
  };
  ExpectGradient([&](const auto& p) { return loss(p, Doubles(routed.gates)); }, rows, d_rows,
                 std::vector<float>(12));
  ExpectGradient([&](const auto& p) { return loss(Doubles(rows), p); }, routed.gates, d_gates,
                 std::vector<float>(6));
}

TEST(ReferenceBackward, CrossEntropyIsTheScaledDerivativeAndSkipsNegativeTargets) {
  const auto logits = NormalValues(3 * 5, 1, 3);
  const std::vector<int32_t> targets = {4, -1, 0};
  auto gradient = logits;
  std::vector<float> losses(3, 7.0f);
  kOps->CrossEntropy(View(gradient, 3, 5), targets, 0.25f, losses);
  const auto loss_of = [&](const std::vector<double>& values, size_t t) {
    if (targets[t] < 0) return 0.0;
    double sum = 0;
    for (size_t i = 0; i < 5; ++i) sum += std::exp(values[5 * t + i]);
    return std::log(sum) - values[5 * t + static_cast<size_t>(targets[t])];
  };
  for (size_t t = 0; t < 3; ++t)
    EXPECT_NEAR(losses[t], loss_of(Doubles(logits), t), 1e-6 * (1 + std::abs(losses[t])));
  const auto total = [&](const std::vector<double>& p) {
    return 0.25 * (loss_of(p, 0) + loss_of(p, 1) + loss_of(p, 2));
  };
  ExpectGradient(total, logits, gradient, std::vector<float>(15));
  EXPECT_EQ(std::vector<float>(gradient.begin() + 5, gradient.begin() + 10), std::vector<float>(5));
}

// By hand: g = 0.5 * 4 = 2; m = 0.1 * 2, v = 0.05 * 4; the corrected moments are 2 and 4, so the
// update is 2 / 2 = 1.
TEST(ReferenceBackward, AdamWDecaysApartFromTheGradient) {
  std::vector<float> parameter = {10}, gradient = {4}, moment1 = {0}, moment2 = {0};
  kOps->AdamW(parameter, gradient, moment1, moment2,
              {.learning_rate = 0.1f, .weight_decay = 0.2f, .gradient_scale = 0.5f, .step = 1});
  EXPECT_NEAR(moment1[0], 0.2, 1e-7);
  EXPECT_NEAR(moment2[0], 0.2, 1e-7);
  EXPECT_NEAR(parameter[0], 10 - 0.1 * (1 + 0.2 * 10), 1e-6);
  // Second step without a gradient: m = 0.18 / 0.19, v = 0.19 / 0.0975.
  gradient[0] = 0;
  parameter[0] = 0;
  kOps->AdamW(parameter, gradient, moment1, moment2, {.learning_rate = 0.1f, .step = 2});
  EXPECT_NEAR(parameter[0], -0.1 * (0.18 / 0.19) / std::sqrt(0.19 / 0.0975), 1e-7);
}

TEST(ReferenceBackward, SumOfSquaresIsExactForSmallIntegers) {
  EXPECT_EQ(kOps->SumOfSquares(std::vector<float>{3, -4, 12}), 169.0);
  EXPECT_EQ(kOps->SumOfSquares({}), 0.0);
}

}  // namespace
}  // namespace cadre
