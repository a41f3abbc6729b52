// What the backward operations need from one instruction set: the inner loops, as a table of
// functions. Rows are contiguous floats of any alignment; no function reads or writes beyond the
// lengths it is given. Every sum has a fixed order that depends on the lengths only.
#pragma once

#include <cstdint>

namespace cadre {

// One AdamW step with everything that is the same for all parameters worked out.
struct AdamWFactors {
  float gradient_scale;
  float beta1, one_minus_beta1;
  float beta2, one_minus_beta2;
  float keep;             // 1 - learning_rate * weight_decay
  float step;             // learning_rate / (1 - beta1^t)
  float inv_correction2;  // 1 / sqrt(1 - beta2^t)
  float epsilon;
};

// C[rows, cols] = sum over i in [0, k), ascending, of A's (r, i) times b[i * b_stride + n], summed
// from zero in registers; with `add`, C += that.
struct ProductTile {
  int64_t rows, cols, k;  // rows in [1, tile_rows], cols in [1, tile_cols]
  const float* a;
  int64_t a_stride;
  bool a_in_rows;  // (r, i) lies at a[r * a_stride + i], else at a[i * a_stride + r]
  const float* b;
  int64_t b_stride;
  float* c;
  int64_t c_stride;
  bool add;
};

// Scores of keys (rows) and queries (columns) on their way to being probabilities. Query j sees key
// i where oldest + j <= i <= newest + j.
struct ScoreColumns {
  int64_t keys, queries;  // queries: whole vectors
  int64_t oldest, newest;
  float scale;    // of the scores; above zero
  float* scores;  // [keys, stride]: e^(scale * score - max) replaces them, 0 where not seen
  int64_t stride;
  float* max;   // [queries] of all scores up to now, scaled; finite from the start
  float* sum;   // [queries] of e^(scale * score - max) up to now
  float* keep;  // [queries] gets what a sum of before is to be multiplied by
};

struct BackwardKernels {
  // The matrix product.
  int64_t tile_rows;
  int64_t tile_cols;
  void (*multiply)(const ProductTile& tile);
  // Packing of a panel, `width` <= to_stride wide and k long: to[i * to_stride + j] = from[i *
  // stride + j], or from[j * stride + i]. What lies in [width, to_stride) of each i is zeroed.
  // to_stride: whole vectors.
  void (*pack_rows)(int64_t width, int64_t k, const float* from, int64_t stride, float* to,
                    int64_t to_stride);
  void (*pack_columns)(int64_t width, int64_t k, const float* from, int64_t stride, float* to,
                       int64_t to_stride);

  void (*add)(int64_t n, const float* x, float* y);                      // y += x
  void (*add_scaled)(int64_t n, float scale, const float* x, float* y);  // y += scale x
  void (*scale)(int64_t n, float scale, const float* x, float* y);       // y = scale x; y may be x
  float (*dot)(int64_t n, const float* x, const float* y);

  // One row of RmsNormBackward; d_weight [n] is added to.
  void (*rms_norm)(int64_t n, const float* x, const float* weight, float eps, const float* d_out,
                   float* d_x, float* d_weight);
  // Overwrites d_gate and d_up.
  void (*swiglu)(int64_t n, const float* gate, const float* up, const float* d_out, float* d_gate,
                 float* d_up);
  void (*softmax_columns)(const ScoreColumns& columns);
  // One row of scores: p = exp(scores * scale - lse) replaces scores, p (d_p - delta) scale
  // replaces d_p.
  void (*attention_row)(int64_t n, float scale, float lse, float delta, float* scores, float* d_p);
  // (a, b) becomes (a cos + b sin, b cos - a sin).
  void (*rotate_back)(int64_t n, const float* cosines, const float* sines, float* a, float* b);
  // Replaces the logits by scale (softmax - one at target); returns the loss.
  float (*cross_entropy)(int64_t n, int64_t target, float scale, float* logits);
  void (*adamw)(int64_t n, const AdamWFactors& factors, const float* gradient, float* parameter,
                float* moment1, float* moment2);
  double (*sum_of_squares)(int64_t n, const float* values);
};

const BackwardKernels& ScalarBackwardKernels();
const BackwardKernels& Avx2BackwardKernels();
const BackwardKernels& Avx512BwBackwardKernels();

}  // namespace cadre
