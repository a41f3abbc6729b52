// Attention of whole sequences and its gradient, on every instruction set of this machine.
#include "cpu/cpu_backward_testing.h"

namespace cadre {
namespace {

class CpuBackwardAttention : public CpuBackwardTest {};

INSTANTIATE_TEST_SUITE_P(Isas, CpuBackwardAttention, testing::ValuesIn(IsasHere()),
                         [](const auto& param) { return std::string(IsaName(param.param)); });

// Sums of the magnitudes of the terms of d_q, d_k and d_v.
struct AttentionMagnitudes {
  std::vector<double> d_q, d_k, d_v;
  double score = 0;  // the largest sum of |q k| / sqrt(D), or |lse|

  explicit AttentionMagnitudes(const AttentionCase& c)
      : d_q(c.q.size()), d_k(c.k.size()), d_v(c.k.size()) {
    const double scale = 1 / std::sqrt(static_cast<double>(c.dim));
    for (int64_t t = 0; t < c.rows; ++t) {
      const int64_t position = c.positions[static_cast<size_t>(t)];
      for (int64_t head = 0; head < c.num_heads; ++head) {
        const auto q = static_cast<size_t>((t * c.num_heads + head) * c.dim);
        const double lse = c.lse[static_cast<size_t>(t * c.num_heads + head)];
        for (int64_t key = c.window > 0 ? std::max<int64_t>(0, position - c.window + 1) : 0;
             key <= position; ++key) {
          const auto kv = static_cast<size_t>(
              ((t - position + key) * c.num_kv_heads + head * c.num_kv_heads / c.num_heads) *
              c.dim);
          double dot = 0, dot_magnitude = 0, d_p = 0;
          for (size_t i = 0; i < static_cast<size_t>(c.dim); ++i) {
            dot += double{c.q[q + i]} * double{c.k[kv + i]} * scale;
            dot_magnitude += std::abs(double{c.q[q + i]} * double{c.k[kv + i]}) * scale;
            d_p += std::abs(double{c.d_out[q + i]}) *
                   (std::abs(double{c.v[kv + i]}) + std::abs(double{c.out[q + i]}));
          }
          score = std::max({score, dot_magnitude, std::abs(lse)});
          const double p = std::exp(dot - lse);
          for (size_t i = 0; i < static_cast<size_t>(c.dim); ++i) {
            d_q[q + i] += p * d_p * scale * std::abs(double{c.k[kv + i]});
            d_k[kv + i] += p * d_p * scale * std::abs(double{c.q[q + i]});
            d_v[kv + i] += p * std::abs(double{c.d_out[q + i]});
          }
        }
      }
    }
  }
};

struct AttentionShape {
  int64_t num_heads, num_kv_heads, dim, window;
  std::vector<int64_t> lengths;
};
const std::vector<AttentionShape> kAttentionShapes = {{1, 1, 1, 0, {1}},
                                                      {2, 2, 8, 0, {7, 1, 65}},
                                                      {4, 2, 32, 0, {100, 300, 20}},
                                                      {3, 1, 20, 0, {257, 256, 2}},
                                                      {2, 1, 32, 5, {140}},
                                                      {4, 2, 16, 100, {330, 31}},
                                                      {2, 1, 8, 256, {600}},
                                                      {1, 1, 40, 1, {70}},
                                                      {2, 2, 64, 0, {513}}};

// A probability is exp of a score good to (D + 4) u of its magnitude and of the maximum's; an
// output is a mean of values with such weights, summed over at most n terms.
TEST_P(CpuBackwardAttention, ForwardAgrees) {
  for (const AttentionShape& shape : kAttentionShapes) {
    const AttentionCase c(shape.num_heads, shape.num_kv_heads, shape.dim, shape.window,
                          shape.lengths, 30);
    SCOPED_TRACE(testing::Message() << c.num_heads << " heads of " << c.dim << ", window "
                                    << c.window << ", rows " << c.rows);
    const double score = AttentionMagnitudes(c).score;
    const auto values = Magnitudes(c.v);
    const double value = *std::max_element(values.begin(), values.end());
    const int64_t longest = *std::max_element(c.lengths.begin(), c.lengths.end());
    const double relative = 2 * kExpError + static_cast<double>(c.dim + 6) * kU * 4 * score +
                            static_cast<double>(2 * longest + 12) * kU;
    const auto run = [&](BackwardOps& ops) {
      auto out = NormalValues(std::ssize(c.out), 5), lse = NormalValues(std::ssize(c.lse), 6);
      c.RunForward(ops, View(out, c.rows, c.num_heads * c.dim), View(lse, c.rows, c.num_heads));
      return Outputs{out, lse};
    };
    Expect(run, [&](size_t output, size_t) {
      return output == 0 ? relative * value : relative + 4 * kU * score;
    });
  }
}

// What stands beside a sequence, or comes after a row, does not show in the row.
TEST_P(CpuBackwardAttention, OfARowIsItsSequencesUpToIt) {
  const AttentionCase c(4, 2, 24, 0, {90, 300}, 31);
  const AttentionCase alone(4, 2, 24, 0, {200}, 31);
  const auto tail = [](const std::vector<float>& from, int64_t begin, int64_t size) {
    return std::vector<float>(from.begin() + begin, from.begin() + begin + size);
  };
  auto q = tail(c.q, 90 * 96, 200 * 96), k = tail(c.k, 90 * 48, 200 * 48),
       v = tail(c.v, 90 * 48, 200 * 48);
  std::vector<float> out(c.out.size()), lse(c.lse.size()), out_alone(q.size()), lse_alone(800);
  c.RunForward(*one_ops_, View(out, 390, 96), View(lse, 390, 4));
  one_ops_->Attention(View(q, 200, 96), View(k, 200, 48), View(v, 200, 48), 4, 0, alone.batch(),
                      View(out_alone, 200, 96), View(lse_alone, 200, 4));
  EXPECT_EQ(out_alone, tail(out, 90 * 96, 200 * 96));
  EXPECT_EQ(lse_alone, tail(lse, 90 * 4, 800));
}

// A probability is exp of a score good to (D + 4) u of its magnitude and of the lse's; d_p - delta
// is good to (D + 2) u; then come a few products and a sum over at most n terms, so each term's
// relative share is the sum of these.
TEST_P(CpuBackwardAttention, Agrees) {
  for (const AttentionShape& shape : kAttentionShapes) {
    const AttentionCase c(shape.num_heads, shape.num_kv_heads, shape.dim, shape.window,
                          shape.lengths, 30);
    SCOPED_TRACE(testing::Message() << c.num_heads << " heads of " << c.dim << ", window "
                                    << c.window << ", rows " << c.rows);
    const AttentionMagnitudes magnitudes(c);
    const auto run = [&](BackwardOps& ops) {
      auto d_q = NormalValues(std::ssize(c.q), 5), d_k = NormalValues(std::ssize(c.k), 6),
           d_v = d_k;
      c.Run(ops, View(d_q, c.rows, c.num_heads * c.dim), View(d_k, c.rows, c.num_kv_heads * c.dim),
            View(d_v, c.rows, c.num_kv_heads * c.dim));
      return Outputs{d_q, d_k, d_v};
    };
    const int64_t longest =
        *std::max_element(c.lengths.begin(), c.lengths.end()) * c.num_heads / c.num_kv_heads;
    const double relative = kExpError + static_cast<double>(c.dim + 6) * kU * 2 * magnitudes.score +
                            static_cast<double>(c.dim + longest + 12) * kU;
    Expect(run, [&](size_t output, size_t i) {
      const auto& terms = output == 0   ? magnitudes.d_q
                          : output == 1 ? magnitudes.d_k
                                        : magnitudes.d_v;
      return relative * terms[i] +
             static_cast<double>(longest / 64 + 2) * kU * 6;  // and the roundings of partial sums
    });
  }
}

}  // namespace
}  // namespace cadre
