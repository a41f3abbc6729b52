// The inner loops of the CPU device as one table of functions per instruction set. Arguments are
// plain pointers and numbers: a kernel file may use no inline function of a class, see
// simd_avx512_inl.h. No kernel checks, throws, allocates or locks; the device does what is needed
// of that. Every output row depends on its own input row only, bit for bit, for any tile.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/isa.h"
#include "cpu/panels.h"
#include "ops/kv_view.h"
#include "tensor/dtype.h"

namespace cadre {

// Rows of signed bytes with scales, of `stride` values (a multiple of 64; zero past the row's end):
// what weights of every quantised type unpack to, and what activations round to.
struct ByteRows {
  int8_t* values;  // [rows, stride]
  float* scales;   // [rows, stride / 4] the scale of four values
  float* offsets;  // [rows, offset_stride] per 16 values. Weights: what to subtract; tokens: the
                   // sum of the values
  int64_t stride;
  int64_t offset_stride;  // stride / 16, rounded up to a multiple of 16
};

// The types whose blocks hold an offset beside the scale: a bit each.
constexpr uint64_t kTypesWithOffsets =
    1ull << static_cast<int>(DType::kQ4_1) | 1ull << static_cast<int>(DType::kQ5_1) |
    1ull << static_cast<int>(DType::kQ2_K) | 1ull << static_cast<int>(DType::kQ4_K) |
    1ull << static_cast<int>(DType::kQ5_K);

// out[t * out_stride + r] = sum_k w[r, k] x[t, k].
struct FloatDots {
  const std::byte* weights;  // [rows] float rows, row_bytes apart, any alignment
  int64_t row_bytes;
  const float* x;  // [tokens], x_stride floats apart
  int64_t x_stride;
  int64_t rows, tokens, cols;
  float* out;
  int64_t out_stride;
};
struct ByteDots {
  ByteRows weights;
  bool has_offsets;  // kTypesWithOffsets; else weights.offsets is not read
  ByteRows x;
  int64_t rows, tokens;
  float* out;
  int64_t out_stride;
};

// What a row's heads have summed up so far: e^(score - max) times the values, and alone.
struct AttentionSums {
  float* out;  // [heads, head_dim]
  float* max;  // [heads]
  float* sum;  // [heads]
};
// One row's query heads that share a key/value head, over the positions [begin, end).
struct AttentionRow {
  const float* q;  // [heads, head_dim]
  int64_t begin, end;
  AttentionSums sums;
};
// Rows of one sequence, in any order. Each is summed from nothing.
struct AttentionRows {
  KvType type;
  int64_t head_dim, heads;
  const std::byte* const* pages;  // of the sequence
  int64_t head_offset;            // bytes from a page's begin to the key block
  int64_t block_bytes;            // of the key block
  const AttentionRow* rows;
  int64_t num_rows;  // 1 to kMaxAttentionRows
  float* scratch;    // AttentionScratch(heads, head_dim)
};
constexpr int64_t kMaxAttentionRows = 8;
constexpr int64_t kMaxSharedHeads = 4;   // of a row alone; more are done in turn
constexpr int64_t kAttentionStrip = 64;  // positions that are decoded at a time for rows together
static constexpr int64_t PaddedHeadDim(int64_t head_dim) { return (head_dim + 15) / 16 * 16; }
static constexpr int64_t AttentionScratch(int64_t heads, int64_t head_dim) {
  const int64_t padded = PaddedHeadDim(head_dim);
  const int64_t queries = kMaxAttentionRows * (heads < kMaxSharedHeads ? kMaxSharedHeads : heads);
  return kAttentionStrip * padded + queries * (kKvBlock + padded + 2);
}

// One row of keys and values into slot `slot` of one head's blocks.
struct KvRow {
  KvType type;
  int64_t head_dim;
  int64_t slot;
  int64_t block_bytes;
  const float* k;  // [head_dim]
  const float* v;
  std::byte* block;  // the key block; value block and scales follow
  float* scratch;    // [head_dim]
};

// Loops that do nothing but keep a unit busy, for measuring what it can do: they return how many
// operations (a multiplication or an addition each) that was.
struct PeakLoops {
  double (*integer)(int64_t rounds);  // 8-bit products, as the dot products here make them
  double (*float32)(int64_t rounds);  // 32-bit float products, fused where there are such
  double (*bf16)(int64_t rounds);     // 16-bit float products; null: this instruction set has none
  double (*matrix)(int64_t rounds);   // 8-bit products of a matrix unit; null: there is none
  // Reads all bytes (a multiple of 64, at a multiple of 64).
  uint64_t (*read)(const std::byte* bytes, int64_t count);
};

// Rows of quantised types as they are, unpacked for each product.
struct RowKernels {
  void (*unpack)(DType type, const std::byte* row, int64_t cols, ByteRows rows, int64_t r);
  // Groups of `group` activations, a multiple of 32, to signed bytes.
  void (*round)(const float* x, int64_t cols, int64_t group, ByteRows rows, int64_t r);
  void (*dots)(const ByteDots& dots);
};

struct KernelTable {
  const char* name;
  PeakLoops peak;
  // Quantised weights are multiplied by one of these; the other is null.
  const PanelKernels* panels;
  const RowKernels* rows;
  // [cols] values of a row of a float type or, through the unpacked form in `unpacked` (one row),
  // of a quantised one.
  void (*decode_row)(DType type, const std::byte* row, int64_t cols, ByteRows unpacked, float* out);
  // To the nearest that BF16 has, ties to even.
  void (*round_bf16)(const float* x, int64_t cols, float* out);
  void (*float_dots)(const FloatDots& dots);
  void (*attend)(const AttentionRows& rows);
  // The sums of the positions after those of `into`, added to them.
  void (*merge_attention)(int64_t heads, int64_t head_dim, const AttentionSums& into,
                          const AttentionSums& after);
  // Divides by the sums. lse [heads], or null, gets max + log(sum).
  void (*finish_attention)(int64_t heads, int64_t head_dim, const AttentionSums& sums, float* lse);
  void (*store_kv)(const KvRow& row);
  void (*rms_norm)(const float* x, const float* weight, float eps, int64_t cols, float* out);
  // Rotates `heads` heads by the angles whose cosines and sines are given: [head_dim / 2], and
  // leaves them half-split. head_dim <= kMaxHeadDim.
  void (*rotate)(float* x, int64_t heads, int64_t head_dim, const float* cosines,
                 const float* sines, bool interleaved);
  void (*add)(const float* x, const float* y, int64_t cols, float* out);
  void (*swiglu)(const float* gate, const float* up, int64_t cols, float* out);
  // out += gate * row.
  void (*add_scaled)(const float* row, float gate, int64_t cols, float* out);
};

const KernelTable& ScalarKernels();
const KernelTable& Avx2Kernels();
const KernelTable& Avx512BwKernels();
const KernelTable& Avx512Kernels();
// Of an instruction set that this machine has.
const KernelTable& KernelsOf(Isa isa);

}  // namespace cadre
