// The inner loops of the backward operations, compiled once per instruction set. Before it come
// simd_X_inl.h and, from the including backward_kernels_X.cc: what product_tile_inl.h asks for, and
// Sqrt. Everything is local to the object file and uses no standard library inline function (see
// the simd headers).
#pragma once

#include "cpu/product_tile_inl.h"

// Lambdas and kernels that must melt into their caller, so that vectors stay in registers.
#define CADRE_MELT __attribute__((always_inline))

namespace cadre::CADRE_ISA {
namespace {

// body(i, m) for i = 0, kLanes, 2 kLanes, ...: m = kLanes, in the last call what is left of n.
template <typename Body>
inline void ForLanes(int64_t n, const Body& body) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) body(i, kLanes);
  if (i < n) body(i, n - i);
}

void AddRow(int64_t n, const float* x, float* y) {
  ForLanes(n, [=](int64_t i, int64_t m)
                  CADRE_MELT { StoreUpTo(y + i, Add(LoadUpTo(y + i, m), LoadUpTo(x + i, m)), m); });
}

void AddScaledRow(int64_t n, float scale, const float* x, float* y) {
  const VecF factor = Broadcast(scale);
  ForLanes(n, [=](int64_t i, int64_t m) CADRE_MELT {
    StoreUpTo(y + i, MulAdd(factor, LoadUpTo(x + i, m), LoadUpTo(y + i, m)), m);
  });
}

void ScaleRow(int64_t n, float scale, const float* x, float* y) {
  const VecF factor = Broadcast(scale);
  ForLanes(n, [=](int64_t i, int64_t m)
                  CADRE_MELT { StoreUpTo(y + i, Mul(factor, LoadUpTo(x + i, m)), m); });
}

float DotRow(int64_t n, const float* x, const float* y) {
  VecF sum = Zero();
  ForLanes(n, [&](int64_t i, int64_t m)
                  CADRE_MELT { sum = MulAdd(LoadUpTo(x + i, m), LoadUpTo(y + i, m), sum); });
  return SumLanes(sum);
}

void RmsNormRow(int64_t n, const float* x, const float* weight, float eps, const float* d_out,
                float* d_x, float* d_weight) {
  VecF squares = Zero(), projections = Zero();
  ForLanes(n, [&](int64_t i, int64_t m) CADRE_MELT {
    const VecF value = LoadUpTo(x + i, m);
    squares = MulAdd(value, value, squares);
    projections = MulAdd(Mul(LoadUpTo(weight + i, m), LoadUpTo(d_out + i, m)), value, projections);
  });
  const auto size = static_cast<float>(n);
  const float r = 1 / __builtin_sqrtf(SumLanes(squares) / size + eps);
  const VecF scale = Broadcast(r), along = Broadcast(r * r * r / size * SumLanes(projections));
  ForLanes(n, [=](int64_t i, int64_t m) CADRE_MELT {
    const VecF value = LoadUpTo(x + i, m), scaled = Mul(LoadUpTo(d_out + i, m), scale);
    const VecF d = NegMulAdd(value, along, Mul(scaled, LoadUpTo(weight + i, m)));
    StoreUpTo(d_x + i, Add(LoadUpTo(d_x + i, m), d), m);
    StoreUpTo(d_weight + i, MulAdd(scaled, value, LoadUpTo(d_weight + i, m)), m);
  });
}

void SwiGluRow(int64_t n, const float* gate, const float* up, const float* d_out, float* d_gate,
               float* d_up) {
  const VecF one = Broadcast(1.0f);
  ForLanes(n, [=](int64_t i, int64_t m) CADRE_MELT {
    const VecF g = LoadUpTo(gate + i, m), d = LoadUpTo(d_out + i, m);
    const VecF sigmoid = Div(one, Add(one, Exp(Sub(Zero(), g))));
    const VecF silu = Mul(g, sigmoid);
    const VecF slope = MulAdd(silu, Sub(one, sigmoid), sigmoid);
    StoreUpTo(d_gate + i, Mul(Mul(d, LoadUpTo(up + i, m)), slope), m);
    StoreUpTo(d_up + i, Mul(d, silu), m);
  });
}

// One vector of queries, from column j on, over all keys.
inline void SoftmaxOfColumns(const ScoreColumns& c, int64_t j) {
  const int64_t oldest = c.oldest + j, newest = c.newest + j;  // of the first query
  const float unseen = -__builtin_inff();
  const auto seen = [=](int64_t i) CADRE_MELT {
    const VecF scores = LoadF32(c.scores + i * c.stride + j);
    const bool by_all = i <= newest && i >= oldest + kLanes - 1;
    return by_all ? scores : KeepLanes(scores, i - newest, i - oldest + 1, unseen);
  };
  const VecF old_max = LoadF32(c.max + j), scale = Broadcast(c.scale);
  VecF most = Broadcast(unseen), sum = Zero();
  for (int64_t i = 0; i < c.keys; ++i) most = Max(seen(i), most);
  const VecF max = Max(Mul(most, scale), old_max), shift = Sub(Zero(), max);
  for (int64_t i = 0; i < c.keys; ++i) {
    const VecF p = Exp(MulAdd(seen(i), scale, shift));
    StoreF32(c.scores + i * c.stride + j, p);
    sum = Add(sum, p);
  }
  const VecF keep = Exp(Sub(old_max, max));
  StoreF32(c.sum + j, MulAdd(LoadF32(c.sum + j), keep, sum));
  StoreF32(c.max + j, max);
  StoreF32(c.keep + j, keep);
}

void SoftmaxColumns(const ScoreColumns& columns) {
  for (int64_t j = 0; j < columns.queries; j += kLanes) SoftmaxOfColumns(columns, j);
}

void AttentionRow(int64_t n, float scale, float lse, float delta, float* scores, float* d_p) {
  const VecF scales = Broadcast(scale), lses = Broadcast(-lse), deltas = Broadcast(delta);
  ForLanes(n, [=](int64_t i, int64_t m) CADRE_MELT {
    const VecF p = Exp(MulAdd(LoadUpTo(scores + i, m), scales, lses));
    StoreUpTo(scores + i, p, m);
    StoreUpTo(d_p + i, Mul(Mul(p, scales), Sub(LoadUpTo(d_p + i, m), deltas)), m);
  });
}

void RotateBackRow(int64_t n, const float* cosines, const float* sines, float* a, float* b) {
  ForLanes(n, [=](int64_t i, int64_t m) CADRE_MELT {
    const VecF cosine = LoadUpTo(cosines + i, m), sine = LoadUpTo(sines + i, m);
    const VecF old_a = LoadUpTo(a + i, m), old_b = LoadUpTo(b + i, m);
    StoreUpTo(a + i, MulAdd(old_a, cosine, Mul(old_b, sine)), m);
    StoreUpTo(b + i, NegMulAdd(old_a, sine, Mul(old_b, cosine)), m);
  });
}

float CrossEntropyRow(int64_t n, int64_t target, float scale, float* logits) {
  const float minus_infinity = -__builtin_inff();
  VecF most = Broadcast(minus_infinity), sums = Zero();
  ForLanes(n, [&](int64_t i, int64_t m) CADRE_MELT {
    most = Max(KeepLanes(LoadUpTo(logits + i, m), 0, m, minus_infinity), most);
  });
  const float max = MaxLanes(most), target_logit = logits[target];
  const VecF shift = Broadcast(max);
  ForLanes(n, [&](int64_t i, int64_t m) CADRE_MELT {
    const VecF e = Exp(Sub(LoadUpTo(logits + i, m), shift));
    StoreUpTo(logits + i, e, m);
    sums = Add(sums, KeepLanes(e, 0, m, 0.0f));
  });
  const float sum = SumLanes(sums);
  const VecF factor = Broadcast(scale / sum);
  ForLanes(n, [=](int64_t i, int64_t m)
                  CADRE_MELT { StoreUpTo(logits + i, Mul(LoadUpTo(logits + i, m), factor), m); });
  logits[target] -= scale;
  return static_cast<float>(__builtin_log(static_cast<double>(sum)) + static_cast<double>(max) -
                            static_cast<double>(target_logit));
}

void AdamWRow(int64_t n, const AdamWFactors& f, const float* gradient, float* parameter,
              float* moment1, float* moment2) {
  const VecF gradient_scale = Broadcast(f.gradient_scale), keep = Broadcast(f.keep),
             step = Broadcast(f.step);
  const VecF beta1 = Broadcast(f.beta1), beta2 = Broadcast(f.beta2), epsilon = Broadcast(f.epsilon);
  const VecF rest1 = Broadcast(f.one_minus_beta1), rest2 = Broadcast(f.one_minus_beta2);
  const VecF correction2 = Broadcast(f.inv_correction2);
  ForLanes(n, [=](int64_t i, int64_t m) CADRE_MELT {
    const VecF g = Mul(LoadUpTo(gradient + i, m), gradient_scale);
    const VecF first = MulAdd(rest1, g, Mul(beta1, LoadUpTo(moment1 + i, m)));
    const VecF second = MulAdd(Mul(rest2, g), g, Mul(beta2, LoadUpTo(moment2 + i, m)));
    StoreUpTo(moment1 + i, first, m);
    StoreUpTo(moment2 + i, second, m);
    const VecF update = Div(Mul(step, first), MulAdd(Sqrt(second), correction2, epsilon));
    StoreUpTo(parameter + i, Sub(Mul(keep, LoadUpTo(parameter + i, m)), update), m);
  });
}

// Sixteen sums side by side, whatever the instruction set: in double they cost nothing next to the
// reading.
double SumOfSquaresRow(int64_t n, const float* values) {
  double sums[16] = {};
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    for (int j = 0; j < 16; ++j) {
      const double value = static_cast<double>(values[i + j]);
      sums[j] += value * value;
    }
  }
  for (int64_t j = 0; i + j < n; ++j) {
    const double value = static_cast<double>(values[i + j]);
    sums[j] += value * value;
  }
  double sum = 0;
  for (const double part : sums) sum += part;
  return sum;
}

const BackwardKernels kBackwardKernels = {
    kGemmRows,    kGemmCols,     Multiply,        PackRows,   PackColumns,     AddRow,
    AddScaledRow, ScaleRow,      DotRow,          RmsNormRow, SwiGluRow,       SoftmaxColumns,
    AttentionRow, RotateBackRow, CrossEntropyRow, AdamWRow,   SumOfSquaresRow,
};

}  // namespace
}  // namespace cadre::CADRE_ISA

#undef CADRE_MELT
