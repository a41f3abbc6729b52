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

struct BackwardKernels {
  // The matrix product. C[rows, cols] += sum over i in [0, k), ascending, of a[i * a_stride + r] *
  // b[i * b_stride + n], summed from zero in registers and then added; rows in [1, tile_rows], cols
  // in [1, tile_cols].
  int64_t tile_rows;
  int64_t tile_cols;
  int64_t a_panel_stride;  // >= tile_rows: floats per i of a packed panel of A
  void (*multiply)(int64_t rows, int64_t cols, int64_t k, const float* a, int64_t a_stride,
                   const float* b, int64_t b_stride, float* c, int64_t c_stride);
  // Packing of a panel, `width` <= to_stride wide and k long: to[i * to_stride + j] = from[i *
  // stride + j], or from[j * stride
  // + i]. What lies in [width, to_stride) of each i is zeroed. to_stride: tile_cols or
  // a_panel_stride.
  void (*pack_rows)(int64_t width, int64_t k, const float* from, int64_t stride, float* to,
                    int64_t to_stride);
  void (*pack_columns)(int64_t width, int64_t k, const float* from, int64_t stride, float* to,
                       int64_t to_stride);

  void (*add)(int64_t n, const float* x, float* y);                      // y += x
  void (*add_scaled)(int64_t n, float scale, const float* x, float* y);  // y += scale x
  float (*dot)(int64_t n, const float* x, const float* y);

  // One row of RmsNormBackward; d_weight [n] is added to.
  void (*rms_norm)(int64_t n, const float* x, const float* weight, float eps, const float* d_out,
                   float* d_x, float* d_weight);
  void (*swiglu)(int64_t n, const float* gate, const float* up, const float* d_out, float* d_gate,
                 float* d_up);
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
