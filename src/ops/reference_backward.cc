// The backward operations as plain loops: every sum runs in double, in index order, and is rounded
// once when it is added.
#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "ops/backward.h"
#include "tensor/float16.h"
#include "tensor/quant.h"

namespace cadre {
namespace {

void AddTo(float& target, double value) { target = static_cast<float>(target + value); }

double Dot(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += double{a[i]} * double{b[i]};
  return sum;
}

// From (i, i + D/2) to (2i, 2i + 1) in each head.
void Interleave(std::span<float> row, int64_t head_dim) {
  const auto half = static_cast<size_t>(head_dim / 2);
  std::vector<float> old(row.begin(), row.end());
  for (size_t head = 0; head < row.size(); head += 2 * half) {
    for (size_t i = 0; i < half; ++i) {
      row[head + 2 * i] = old[head + i];
      row[head + 2 * i + 1] = old[head + half + i];
    }
  }
}

template <typename A, typename B>
bool SameShape(Mat<A> a, Mat<B> b) {
  return a.rows == b.rows && a.cols == b.cols;
}

// `size` values of a row from `column` on.
std::span<const float> Head(Mat<const float> m, int64_t row, int64_t column, int64_t size) {
  return {m.row(row) + column, static_cast<size_t>(size)};
}

int64_t Oldest(int64_t position, int64_t window) {
  return window > 0 ? std::max<int64_t>(0, position - window + 1) : 0;
}

void Round(std::span<const double> values, Mat<float> out) {
  for (int64_t t = 0; t < out.rows; ++t)
    for (int64_t i = 0; i < out.cols; ++i)
      out.row(t)[i] = static_cast<float>(values[static_cast<size_t>(t * out.cols + i)]);
}

void CheckAttention(Mat<const float> q, Mat<const float> k, Mat<const float> v, int64_t num_heads,
                    int64_t window, const KvBatch& batch) {
  const KvShape& shape = batch.shape;
  CADRE_CHECK(num_heads > 0 && num_heads % shape.num_kv_heads == 0 && window >= 0);
  CADRE_CHECK(q.cols == num_heads * shape.head_dim && SameShape(k, v));
  CADRE_CHECK(k.rows == q.rows && k.cols == shape.num_kv_heads * shape.head_dim);
  CADRE_CHECK(std::ssize(batch.positions) == q.rows && std::ssize(batch.sequence_of_row) == q.rows);
  for (int64_t t = 0; t < q.rows; ++t) {
    const int64_t position = batch.positions[static_cast<size_t>(t)];
    CADRE_CHECK(position >= 0 && position <= t);
  }
}

class ReferenceBackward final : public BackwardOps {
 public:
  void EmbedBackward(std::span<const int32_t> ids, Mat<const float> d_out,
                     Mat<float> d_table) override {
    CADRE_CHECK(std::ssize(ids) == d_out.rows && d_out.cols == d_table.cols);
    for (int64_t t = 0; t < d_out.rows; ++t) {
      const int32_t id = ids[static_cast<size_t>(t)];
      CADRE_CHECK(id >= 0 && id < d_table.rows);
      for (int64_t i = 0; i < d_out.cols; ++i) d_table.row(id)[i] += d_out.row(t)[i];
    }
  }

  // With r = 1 / sqrt(mean(x^2) + eps): out = r w x, so d_x = r w d_out - x r^3 / n sum(w d_out x).
  void RmsNormBackward(Mat<const float> x, std::span<const float> weight, float eps,
                       Mat<const float> d_out, Mat<float> d_x, std::span<float> d_weight) override {
    CADRE_CHECK(SameShape(x, d_out) && SameShape(x, d_x) && std::ssize(weight) == x.cols &&
                (d_weight.empty() || d_weight.size() == weight.size()));
    std::vector<double> d_weight_sum(weight.size());
    const auto cols = static_cast<double>(x.cols);
    for (int64_t t = 0; t < x.rows; ++t) {
      const auto xs = x.row_span(t), d_outs = d_out.row_span(t);
      const double r = 1 / std::sqrt(Dot(xs, xs) / cols + double{eps});
      double projection = 0;
      for (size_t i = 0; i < xs.size(); ++i)
        projection += double{weight[i]} * double{d_outs[i]} * double{xs[i]};
      for (size_t i = 0; i < xs.size(); ++i) {
        const double from_scale = r * double{weight[i]} * double{d_outs[i]};
        AddTo(d_x.row_span(t)[i], from_scale - double{xs[i]} * r * r * r / cols * projection);
        d_weight_sum[i] += double{d_outs[i]} * double{xs[i]} * r;
      }
    }
    for (size_t i = 0; i < d_weight.size(); ++i) AddTo(d_weight[i], d_weight_sum[i]);
  }

  void MatMulBackward(Mat<const float> x, Mat<const float> w, Mat<const float> d_out,
                      ActivationType activation, Into into, Mat<float> d_x,
                      Mat<float> d_w) override {
    CADRE_CHECK(x.cols == w.cols && d_out.rows == x.rows && d_out.cols == w.rows);
    CADRE_CHECK((d_x.empty() || SameShape(d_x, x)) && (d_w.empty() || SameShape(d_w, w)));
    const auto rounded = [&](float value) {
      return double{activation == ActivationType::kBF16 ? ToFloat(ToBF16(value)) : value};
    };
    std::vector<double> sums(static_cast<size_t>(x.cols));
    const auto add_scaled = [&](float scale, std::span<const float> row) {
      for (size_t k = 0; k < sums.size(); ++k) sums[k] += rounded(scale) * rounded(row[k]);
    };
    const auto add_sums_to = [&](std::span<float> row) {
      for (size_t k = 0; k < sums.size(); ++k) AddTo(row[k], std::exchange(sums[k], 0.0));
    };
    if (!d_x.empty()) {
      for (int64_t t = 0; t < x.rows; ++t) {
        if (into == Into::kFresh) std::fill_n(d_x.row(t), d_x.cols, 0.0f);
        for (int64_t n = 0; n < w.rows; ++n) add_scaled(d_out.row(t)[n], w.row_span(n));
        add_sums_to(d_x.row_span(t));
      }
    }
    if (!d_w.empty()) {
      for (int64_t n = 0; n < w.rows; ++n) {
        for (int64_t t = 0; t < x.rows; ++t) add_scaled(d_out.row(t)[n], x.row_span(t));
        add_sums_to(d_w.row_span(n));
      }
    }
  }

  void MatMul(Mat<const float> x, const Weight& w, Mat<float> out) override {
    MakeReferenceDevice()->MatMul(x, w, ActivationType::kF32, out);
  }

  void MatMulInputBackward(const Weight& w, Mat<const float> d_out, ActivationType activation,
                           Into into, Mat<float> d_x) override {
    std::vector<float> decoded(static_cast<size_t>(w.rows * w.cols));
    const Mat<float> matrix(decoded.data(), w.rows, w.cols);
    for (int64_t n = 0; n < w.rows; ++n) DecodeRow(w.type, w.row(n), matrix.row_span(n));
    MatMulBackward(d_x, matrix, d_out, activation, into, d_x, {});
  }

  void RopeBackward(Mat<float> d_x, int64_t head_dim, std::span<const int64_t> positions,
                    std::span<const double> inv_freq, RopeLayout layout) override {
    CADRE_CHECK(head_dim > 0 && head_dim % 2 == 0 && d_x.cols % head_dim == 0);
    CADRE_CHECK(std::ssize(positions) == d_x.rows && std::ssize(inv_freq) == head_dim / 2);
    for (int64_t t = 0; t < d_x.rows; ++t) {
      for (int64_t i = 0; i < head_dim / 2; ++i) {
        const double angle = static_cast<double>(positions[static_cast<size_t>(t)]) *
                             inv_freq[static_cast<size_t>(i)];
        const double cosine = std::cos(angle), sine = std::sin(angle);
        for (int64_t head = 0; head < d_x.cols; head += head_dim) {
          float& a = d_x.row(t)[head + i];
          float& b = d_x.row(t)[head + i + head_dim / 2];
          const double old_a = a, old_b = b;
          a = static_cast<float>(old_a * cosine + old_b * sine);
          b = static_cast<float>(old_b * cosine - old_a * sine);
        }
      }
      if (layout == RopeLayout::kInterleaved) Interleave(d_x.row_span(t), head_dim);
    }
  }

  void Attention(Mat<const float> q, Mat<const float> k, Mat<const float> v, int64_t num_heads,
                 int64_t window, const KvBatch& batch, Mat<float> out, Mat<float> lse) override {
    const int64_t dim = batch.shape.head_dim;
    CheckAttention(q, k, v, num_heads, window, batch);
    CADRE_CHECK(SameShape(out, q) &&
                (lse.empty() || (lse.rows == q.rows && lse.cols == num_heads)));
    std::vector<double> scores, sums(static_cast<size_t>(dim));
    for (int64_t t = 0; t < q.rows; ++t) {
      const int64_t position = batch.positions[static_cast<size_t>(t)];
      const int64_t oldest = Oldest(position, window);
      for (int64_t head = 0; head < num_heads; ++head) {
        const int64_t kv_column = head / (num_heads / batch.shape.num_kv_heads) * dim;
        scores.clear();
        for (int64_t key = t - position + oldest; key <= t; ++key)
          scores.push_back(Dot(Head(q, t, head * dim, dim), Head(k, key, kv_column, dim)) /
                           std::sqrt(static_cast<double>(dim)));
        const double max = *std::max_element(scores.begin(), scores.end());
        double sum = 0;
        std::fill(sums.begin(), sums.end(), 0.0);
        for (size_t s = 0; s < scores.size(); ++s) {
          const double p = std::exp(scores[s] - max);
          const float* value = v.row(t - position + oldest + static_cast<int64_t>(s)) + kv_column;
          for (size_t i = 0; i < sums.size(); ++i) sums[i] += p * double{value[i]};
          sum += p;
        }
        for (size_t i = 0; i < sums.size(); ++i)
          out.row(t)[static_cast<size_t>(head * dim) + i] = static_cast<float>(sums[i] / sum);
        if (!lse.empty()) lse.row(t)[head] = static_cast<float>(max + std::log(sum));
      }
    }
  }

  // With p = exp(q k / sqrt(D) - lse) and delta = d_out . out: d_v = p d_out, d_score = p (d_out .
  // v - delta).
  void AttentionBackward(Mat<const float> q, Mat<const float> k, Mat<const float> v,
                         int64_t num_heads, int64_t window, const KvBatch& batch,
                         Mat<const float> out, Mat<const float> lse, Mat<const float> d_out,
                         Mat<float> d_q, Mat<float> d_k, Mat<float> d_v) override {
    const int64_t dim = batch.shape.head_dim;
    CheckAttention(q, k, v, num_heads, window, batch);
    CADRE_CHECK(SameShape(out, q) && SameShape(d_out, q) && SameShape(d_q, q));
    CADRE_CHECK(lse.rows == q.rows && lse.cols == num_heads && SameShape(d_k, k) &&
                SameShape(d_v, v));
    const double scale = 1 / std::sqrt(static_cast<double>(dim));
    std::vector<double> d_q_sum(static_cast<size_t>(q.cols));
    std::vector<double> d_k_sum(static_cast<size_t>(d_k.rows * d_k.cols)), d_v_sum(d_k_sum.size());
    for (int64_t t = 0; t < q.rows; ++t) {
      const int64_t position = batch.positions[static_cast<size_t>(t)];
      std::fill(d_q_sum.begin(), d_q_sum.end(), 0.0);
      for (int64_t head = 0; head < num_heads; ++head) {
        const int64_t kv_column = head / (num_heads / batch.shape.num_kv_heads) * dim;
        const auto query = Head(q, t, head * dim, dim), d_head = Head(d_out, t, head * dim, dim);
        const double delta = Dot(Head(out, t, head * dim, dim), d_head);
        for (int64_t row = t - position + Oldest(position, window); row <= t; ++row) {
          const auto key = Head(k, row, kv_column, dim);
          const double p = std::exp(Dot(query, key) * scale - double{lse.row(t)[head]});
          const double d_score = p * (Dot(d_head, Head(v, row, kv_column, dim)) - delta) * scale;
          double* d_key = d_k_sum.data() + row * d_k.cols + kv_column;
          double* d_value = d_v_sum.data() + row * d_k.cols + kv_column;
          for (size_t i = 0; i < key.size(); ++i) {
            d_q_sum[static_cast<size_t>(head * dim) + i] += d_score * double{key[i]};
            d_key[i] += d_score * double{query[i]};
            d_value[i] += p * double{d_head[i]};
          }
        }
      }
      Round(d_q_sum, d_q.Rows(t, t + 1));
    }
    Round(d_k_sum, d_k);
    Round(d_v_sum, d_v);
  }

  // silu(g) = g s with s = 1 / (1 + exp(-g)); silu'(g) = s (1 + g (1 - s)).
  void SwiGluBackward(Mat<const float> gate, Mat<const float> up, Mat<const float> d_out,
                      Mat<float> d_gate, Mat<float> d_up) override {
    CADRE_CHECK(SameShape(gate, up) && SameShape(gate, d_out) && SameShape(gate, d_gate) &&
                SameShape(gate, d_up));
    for (int64_t t = 0; t < gate.rows; ++t) {
      for (int64_t i = 0; i < gate.cols; ++i) {
        const double g = gate.row(t)[i], d = d_out.row(t)[i];
        const double sigmoid = 1 / (1 + std::exp(-g));
        d_gate.row(t)[i] =
            static_cast<float>(d * double{up.row(t)[i]} * sigmoid * (1 + g * (1 - sigmoid)));
        d_up.row(t)[i] = static_cast<float>(d * g * sigmoid);
      }
    }
  }

  void GatherRowsBackward(const DispatchView& plan, Mat<const float> d_rows,
                          Mat<float> d_x) override {
    CADRE_CHECK(plan.row_of_choice.rows == d_x.rows && d_rows.cols == d_x.cols);
    for (int64_t t = 0; t < d_x.rows; ++t) {
      for (int64_t i = 0; i < d_x.cols; ++i) {
        double sum = 0;
        for (const int32_t row : plan.row_of_choice.row_span(t)) {
          CADRE_CHECK(row < d_rows.rows);
          if (row >= 0) sum += double{d_rows.row(row)[i]};
        }
        d_x.row(t)[i] = static_cast<float>(sum);
      }
    }
  }

  void CombineRowsBackward(Mat<const float> rows, const DispatchView& plan, Mat<const float> d_out,
                           Mat<float> d_rows, Mat<float> d_gates) override {
    CADRE_CHECK(SameShape(rows, d_rows) && rows.cols == d_out.cols &&
                plan.row_of_choice.rows == d_out.rows);
    CADRE_CHECK(SameShape(plan.gates, plan.row_of_choice) &&
                SameShape(d_gates, plan.row_of_choice));
    for (int64_t t = 0; t < d_out.rows; ++t) {
      for (int64_t c = 0; c < plan.row_of_choice.cols; ++c) {
        const int32_t row = plan.row_of_choice.row(t)[c];
        CADRE_CHECK(row < rows.rows);
        d_gates.row(t)[c] = 0;
        if (row < 0) continue;
        const double gate = plan.gates.row(t)[c];
        for (int64_t i = 0; i < rows.cols; ++i)
          d_rows.row(row)[i] = static_cast<float>(gate * double{d_out.row(t)[i]});
        d_gates.row(t)[c] = static_cast<float>(Dot(d_out.row_span(t), rows.row_span(row)));
      }
    }
  }

  void CrossEntropy(Mat<float> logits, std::span<const int32_t> targets, float scale,
                    std::span<float> losses) override {
    CADRE_CHECK(std::ssize(targets) == logits.rows && losses.size() == targets.size());
    for (int64_t t = 0; t < logits.rows; ++t) {
      const auto row = logits.row_span(t);
      const int32_t target = targets[static_cast<size_t>(t)];
      CADRE_CHECK(target < logits.cols);
      if (target < 0) {
        std::fill(row.begin(), row.end(), 0.0f);
        losses[static_cast<size_t>(t)] = 0;
        continue;
      }
      const double max = *std::max_element(row.begin(), row.end());
      double sum = 0;
      for (const float logit : row) sum += std::exp(double{logit} - max);
      const double lse = max + std::log(sum);
      losses[static_cast<size_t>(t)] =
          static_cast<float>(lse - double{row[static_cast<size_t>(target)]});
      for (int64_t i = 0; i < logits.cols; ++i) {
        float& logit = row[static_cast<size_t>(i)];
        logit = static_cast<float>(double{scale} *
                                   (std::exp(double{logit} - lse) - (i == target ? 1.0 : 0.0)));
      }
    }
  }

  void AdamW(std::span<float> parameter, std::span<const float> gradient, std::span<float> moment1,
             std::span<float> moment2, const AdamWSettings& settings) override {
    CADRE_CHECK(gradient.size() == parameter.size() && moment1.size() == parameter.size() &&
                moment2.size() == parameter.size() && settings.step >= 1);
    const double beta1 = settings.beta1, beta2 = settings.beta2, rate = settings.learning_rate;
    const double correction1 = 1 - std::pow(beta1, static_cast<double>(settings.step));
    const double correction2 = 1 - std::pow(beta2, static_cast<double>(settings.step));
    for (size_t i = 0; i < parameter.size(); ++i) {
      const double g = double{gradient[i]} * double{settings.gradient_scale};
      const double m = beta1 * double{moment1[i]} + (1 - beta1) * g;
      const double v = beta2 * double{moment2[i]} + (1 - beta2) * g * g;
      moment1[i] = static_cast<float>(m);
      moment2[i] = static_cast<float>(v);
      const double update =
          m / correction1 / (std::sqrt(v / correction2) + double{settings.epsilon});
      AddTo(parameter[i], -rate * (update + double{settings.weight_decay} * double{parameter[i]}));
    }
  }

  double SumOfSquares(std::span<const float> values) override { return Dot(values, values); }
};

}  // namespace

std::unique_ptr<BackwardOps> MakeReferenceBackward() {
  return std::make_unique<ReferenceBackward>();
}

}  // namespace cadre
