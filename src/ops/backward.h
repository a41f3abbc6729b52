// The backward of every operation in ops/device.h, and the few operations that only training needs.
// Gradients of weights are added to what is there, and so is the residual stream's of
// RmsNormBackward; every other gradient (d_...) that an operation produces overwrites, unless Into
// says otherwise. A selection (the chosen experts) is a constant. Results
// do not depend on the number of threads: every sum has one owner and a fixed order.
//
// Shapes as in ops/device.h: T tokens, C routed rows, D head_dim, H query heads, K key/value heads.
// Weights are float32 where nothing else is said.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "ops/device.h"

namespace cadre {

struct AdamWSettings {
  float learning_rate = 0;
  float beta1 = 0.9f;
  float beta2 = 0.95f;
  float epsilon = 1e-8f;
  float weight_decay = 0;    // decoupled: Loshchilov and Hutter, arXiv 1711.05101
  float gradient_scale = 1;  // the gradient is multiplied by it first (clipping)
  int64_t step = 1;          // from 1; for the bias corrections
};

// What a gradient does to what is there.
enum class Into {
  kFresh,  // overwrites it
  kSum,    // is added to it
};

class BackwardOps {
 public:
  virtual ~BackwardOps() = default;

  // d_table[ids[t]] += d_out[t], in token order.
  virtual void EmbedBackward(std::span<const int32_t> ids, Mat<const float> d_out,
                             Mat<float> d_table) = 0;

  // x, d_out, d_x: [T, cols]; weight, d_weight: [cols]. An empty d_weight is left out.
  virtual void RmsNormBackward(Mat<const float> x, std::span<const float> weight, float eps,
                               Mat<const float> d_out, Mat<float> d_x,
                               std::span<float> d_weight) = 0;

  // out = x w^T: d_x [T, K] = (or +=) d_out [T, N] w [N, K]; d_w [N, K] += d_out^T x. An empty d_x
  // or d_w is left out. kBF16: each factor is rounded to BF16, sums and what they are added to are
  // float32; else all is float32.
  virtual void MatMulBackward(Mat<const float> x, Mat<const float> w, Mat<const float> d_out,
                              ActivationType activation, Into into, Mat<float> d_x,
                              Mat<float> d_w) = 0;

  // out = x w^T in float32, as Device::MatMul of ActivationType::kF32 but for the order of sums:
  // for the many rows of training. w: of any stored type, decoded once. An output row is a
  // bit-exact function of its input row.
  virtual void MatMul(Mat<const float> x, const Weight& w, Mat<float> out) = 0;

  // The part of MatMulBackward that reaches x, of a weight of any stored type, decoded; what
  // w.low_rank adds is left out. The same bits as of the float32 weight that it decodes to.
  virtual void MatMulInputBackward(const Weight& w, Mat<const float> d_out,
                                   ActivationType activation, Into into, Mat<float> d_x) = 0;

  // Rotates d_x in place by the negative angles: the transpose of Rope. d_x comes half-split and
  // leaves in `layout`.
  virtual void RopeBackward(Mat<float> d_x, int64_t head_dim, std::span<const int64_t> positions,
                            std::span<const double> inv_freq, RopeLayout layout) = 0;

  // As Device::Attention but for the order of sums, of whole sequences without a cache: k and v
  // ([T, K * D]) are the step's own. Each sequence's rows are consecutive, in order, from position
  // 0; of `batch` the shape's heads, sequence_of_row and positions are read.
  virtual void Attention(Mat<const float> q, Mat<const float> k, Mat<const float> v,
                         int64_t num_heads, int64_t window, const KvBatch& batch, Mat<float> out,
                         Mat<float> lse) = 0;

  // The gradient of that with respect to q [T, H * D], k and v. out, lse: what it returned.
  virtual void AttentionBackward(Mat<const float> q, Mat<const float> k, Mat<const float> v,
                                 int64_t num_heads, int64_t window, const KvBatch& batch,
                                 Mat<const float> out, Mat<const float> lse, Mat<const float> d_out,
                                 Mat<float> d_q, Mat<float> d_k, Mat<float> d_v) = 0;

  virtual void SwiGluBackward(Mat<const float> gate, Mat<const float> up, Mat<const float> d_out,
                              Mat<float> d_gate, Mat<float> d_up) = 0;

  // d_x[t] = sum over choices, in choice order, of d_rows[row_of_choice[t, c]].
  virtual void GatherRowsBackward(const DispatchView& plan, Mat<const float> d_rows,
                                  Mat<float> d_x) = 0;

  // d_rows[row_of_choice[t, c]] = gates[t, c] * d_out[t]; d_gates[t, c] = d_out[t] .
  // rows[row_of_choice[t, c]], 0 where there is no row. Every row is some choice's.
  virtual void CombineRowsBackward(Mat<const float> rows, const DispatchView& plan,
                                   Mat<const float> d_out, Mat<float> d_rows,
                                   Mat<float> d_gates) = 0;

  // losses[t] = -log softmax(logits[t])[targets[t]], 0 where targets[t] < 0; logits are replaced by
  // scale times the gradient of the summed losses.
  virtual void CrossEntropy(Mat<float> logits, std::span<const int32_t> targets, float scale,
                            std::span<float> losses) = 0;

  // One AdamW step on a parameter and its two moments, all of one size.
  virtual void AdamW(std::span<float> parameter, std::span<const float> gradient,
                     std::span<float> moment1, std::span<float> moment2,
                     const AdamWSettings& settings) = 0;

  // Sum of squares, in double, in a fixed order.
  virtual double SumOfSquares(std::span<const float> values) = 0;
};

// Plain loops with double accumulation: the oracle.
std::unique_ptr<BackwardOps> MakeReferenceBackward();

}  // namespace cadre
