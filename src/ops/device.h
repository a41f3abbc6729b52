// The operations a Mixtral is made of, for one device. The model calls nothing else. Every
// implementation agrees with ops/reference.h within the bounds of ops/device_test_cases (derived
// there), and keeps row independence: an output row is a bit-exact function of its own input row,
// whatever rows stand beside it and however many threads run.
//
// Shapes: T tokens (rows of the step), D head_dim, H query heads, K key/value heads, E experts, C
// routed rows. Matrices are row-major; outputs never alias inputs unless said. No operation
// allocates once its scratch has grown to the largest step.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/thread_pool.h"
#include "ops/kv_view.h"
#include "tensor/mat.h"
#include "tensor/weight.h"

namespace cadre {

// What a matmul does to its input before multiplying.
enum class ActivationType {
  kF32,      // nothing: the exact path
  kRounded,  // what goes with the weights' type. Quantised: groups of ActivationGroup(type) values
             // to int8 with a float scale amax/127 (nearest, ties to even); BF16: to BF16; else
             // nothing
  kBF16,     // as kRounded, and weights of F32 are rounded to BF16 too: training in mixed precision
};

// As many as the blocks of the weights have, 32 or 256: then what a block adds is a whole number
// times two scales.
inline int64_t ActivationGroup(DType weight_type) { return Info(weight_type).block_elems; }

// Which pairs of a head rotate together, as its rows of wq and wk lie.
enum class RopeLayout {
  kHalfSplit,    // (x[i], x[i + D/2]): Hugging Face checkpoints
  kInterleaved,  // (x[2i], x[2i+1]): Mistral-native and GGUF
};

// Where the rows of a step go: made by PlanDispatch (model/dispatch.h), consumed by GatherRows and
// CombineRows.
struct DispatchView {
  std::span<const int32_t> token_of_row;  // [C] the token a routed row is a copy of
  Mat<const int32_t>
      row_of_choice;  // [T, k] the routed row of a token's choice; -1: none (unused or dropped)
  Mat<const float> gates;  // [T, k] weight of each choice
};

class Device {
 public:
  virtual ~Device() = default;
  virtual std::string name()
      const = 0;  // "reference", "scalar", "avx2", "avx512bw", "avx512", "amx"
  virtual ThreadPool& threads() = 0;
  // Whether products of BF16 are quicker here than those of float32.
  virtual bool multiplies_bf16() const { return false; }

  // out[t] = table row ids[t], decoded. ids within [0, table.rows).
  virtual void Embed(const Weight& table, std::span<const int32_t> ids, Mat<float> out) = 0;

  // out[t] = x[t] * weight / sqrt(mean(x[t]^2) + eps). weight: [cols]. out may be x.
  virtual void RmsNorm(Mat<const float> x, std::span<const float> weight, float eps,
                       Mat<float> out) = 0;

  // out[t, n] = sum_k x[t, k] w[n, k]. x: [T, w.cols], out: [T, w.rows]. With w.low_rank its
  // product is added, in float32 whatever `activation` says: scale * sum_r up[n, r] sum_k down[r,
  // k] x[t, k].
  virtual void MatMul(Mat<const float> x, const Weight& w, ActivationType activation,
                      Mat<float> out) = 0;

  // Rows [a kPackRows, b kPackRows) of a matrix packed alone are what lies in the packed matrix
  // from PackedBytes of the rows before them on: so a matrix may be packed as it is read.
  static constexpr int64_t kPackRows = 16;
  // Bytes that Pack would write; 0: this device computes with the weight as it is stored.
  virtual int64_t PackedBytes(const Weight& w) const = 0;
  // Writes the weight as this device likes it best to `packed` (PackedBytes(w) bytes, at a multiple
  // of 64). MatMul with w.packed set to that gives the same bits, sooner.
  virtual void Pack(const Weight& w, std::byte* packed) = 0;

  // Rotates every head of x ([T, heads * D]) in place by the angle positions[t] * inv_freq[i];
  // inv_freq: [D/2], in double. x comes in `layout` and leaves half-split: what follows is the same
  // bits for either layout of the same weights.
  virtual void Rope(Mat<float> x, int64_t head_dim, std::span<const int64_t> positions,
                    std::span<const double> inv_freq, RopeLayout layout) = 0;

  // Rounds k and v ([T, K * D], k already rotated) to the cache's type and writes row t to the slot
  // of positions[t] in sequences[sequence_of_row[t]].
  virtual void StoreKv(Mat<const float> k, Mat<const float> v, const KvBatch& batch) = 0;

  // out[t] ([T, H * D]) = softmax(q k^T / sqrt(D)) v over the keys at positions (positions[t] -
  // window, positions[t]] of the row's sequence (window 0: all), read from the cache; the head's
  // sum goes over absolute blocks of kKvBlock positions. lse, if not empty: [T, H] the natural log
  // of the softmax denominator (with the scores' maximum folded in).
  virtual void Attention(Mat<const float> q, int64_t num_heads, int64_t window,
                         const KvBatch& batch, Mat<float> out, Mat<float> lse) = 0;

  // out = x + y. out may be x.
  virtual void Add(Mat<const float> x, Mat<const float> y, Mat<float> out) = 0;

  // out = silu(gate) * up, elementwise. out may be gate.
  virtual void SwiGlu(Mat<const float> gate, Mat<const float> up, Mat<float> out) = 0;

  // out[r] = x[token_of_row[r]]. out: [C, cols].
  virtual void GatherRows(Mat<const float> x, const DispatchView& plan, Mat<float> out) = 0;

  // out[t] = sum over choices c, in choice order, of gates[t, c] * rows[row_of_choice[t, c]]; no
  // choice: zeros.
  virtual void CombineRows(Mat<const float> rows, const DispatchView& plan, Mat<float> out) = 0;
};

// The plain-loop device: one thread, double accumulation, no intrinsics. The oracle of every other.
std::unique_ptr<Device> MakeReferenceDevice();

}  // namespace cadre
