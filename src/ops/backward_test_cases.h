// What the tests of every BackwardOps share: seeded inputs, and attention problems with their
// answer.
#pragma once

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "base/random.h"
#include "ops/backward.h"

namespace cadre {

// Normal values times `scale`.
inline std::vector<float> NormalValues(int64_t size, uint64_t seed, double scale = 1) {
  Random random(seed);
  std::vector<float> values(static_cast<size_t>(size));
  for (float& value : values) value = static_cast<float>(random.NextNormal() * scale);
  return values;
}

template <typename T>
Mat<T> View(std::vector<T>& values, int64_t rows, int64_t cols) {
  CADRE_CHECK(rows * cols <= std::ssize(values));
  return {values.data(), rows, cols};
}

template <typename T>
std::vector<double> Doubles(const std::vector<T>& values) {
  return {values.begin(), values.end()};
}

// One call of Attention and of AttentionBackward. q, out, d_out: [T, num_heads * dim]; k, v: [T,
// num_kv_heads * dim]; lse: [T, num_heads].
struct AttentionCase {
  int64_t num_heads, num_kv_heads, dim, window;
  std::vector<int64_t> lengths;
  int64_t rows = 0;
  std::vector<float> q, k, v, d_out, out, lse;
  std::vector<int32_t> sequence_of_row;
  std::vector<int64_t> positions;

  AttentionCase(int64_t num_heads_, int64_t num_kv_heads_, int64_t dim_, int64_t window_,
                std::vector<int64_t> lengths_, uint64_t seed)
      : num_heads(num_heads_),
        num_kv_heads(num_kv_heads_),
        dim(dim_),
        window(window_),
        lengths(std::move(lengths_)) {
    for (size_t s = 0; s < lengths.size(); ++s) {
      for (int64_t p = 0; p < lengths[s]; ++p) {
        sequence_of_row.push_back(static_cast<int32_t>(s));
        positions.push_back(p);
      }
    }
    rows = std::ssize(positions);
    q = NormalValues(rows * num_heads * dim, seed);
    k = NormalValues(rows * num_kv_heads * dim, seed + 1);
    v = NormalValues(rows * num_kv_heads * dim, seed + 2);
    d_out = NormalValues(rows * num_heads * dim, seed + 3);
    std::vector<double> exact_lse;
    const auto exact_out = Forward(Doubles(q), Doubles(k), Doubles(v), &exact_lse);
    out.assign(exact_out.begin(), exact_out.end());
    lse.assign(exact_lse.begin(), exact_lse.end());
  }

  KvBatch batch() const {
    return {{KvType::kF32, 1, num_kv_heads, dim}, 0, {}, sequence_of_row, positions};
  }

  void RunForward(BackwardOps& ops, Mat<float> out_view, Mat<float> lse_view) const {
    ops.Attention({q.data(), rows, num_heads * dim}, {k.data(), rows, num_kv_heads * dim},
                  {v.data(), rows, num_kv_heads * dim}, num_heads, window, batch(), out_view,
                  lse_view);
  }

  void Run(BackwardOps& ops, Mat<float> d_q, Mat<float> d_k, Mat<float> d_v) const {
    const Mat<const float> q_view{q.data(), rows, num_heads * dim},
        out_view{out.data(), rows, num_heads * dim};
    const Mat<const float> d_out_view{d_out.data(), rows, num_heads * dim},
        lse_view{lse.data(), rows, num_heads};
    ops.AttentionBackward(q_view, {k.data(), rows, num_kv_heads * dim},
                          {v.data(), rows, num_kv_heads * dim}, num_heads, window, batch(),
                          out_view, lse_view, d_out_view, d_q, d_k, d_v);
  }

  // Attention from its definition, in double.
  std::vector<double> Forward(const std::vector<double>& q_in, const std::vector<double>& k_in,
                              const std::vector<double>& v_in, std::vector<double>* lse_out) const {
    std::vector<double> result(q_in.size());
    for (int64_t t = 0; t < rows; ++t) {
      const int64_t position = positions[static_cast<size_t>(t)];
      const int64_t begin = window > 0 ? std::max<int64_t>(0, position - window + 1) : 0;
      for (int64_t head = 0; head < num_heads; ++head) {
        const double* query = q_in.data() + (t * num_heads + head) * dim;
        const auto offset = [&](int64_t key) {
          return ((t - position + key) * num_kv_heads + head * num_kv_heads / num_heads) * dim;
        };
        std::vector<double> weights;
        double sum = 0;
        for (int64_t key = begin; key <= position; ++key) {
          double score = 0;
          for (int64_t i = 0; i < dim; ++i)
            score += query[i] * k_in[static_cast<size_t>(offset(key) + i)];
          weights.push_back(std::exp(score / std::sqrt(static_cast<double>(dim))));
          sum += weights.back();
        }
        if (lse_out != nullptr) lse_out->push_back(std::log(sum));
        double* row = result.data() + (t * num_heads + head) * dim;
        for (int64_t key = begin; key <= position; ++key) {
          const double p = weights[static_cast<size_t>(key - begin)] / sum;
          for (int64_t i = 0; i < dim; ++i)
            row[i] += p * v_in[static_cast<size_t>(offset(key) + i)];
        }
      }
    }
    return result;
  }
};

}  // namespace cadre
