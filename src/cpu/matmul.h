// Matrix products on the CPU. Where the instruction set has panels (cpu/panels.h), rounded
// activations meet packed weights; else a few weight rows at a time are unpacked into each thread's
// scratch. Cut by outputs and tokens; a sum is never cut but in the order of its columns.
#pragma once

#include <cstdint>

#include "base/thread_pool.h"
#include "cpu/kernels.h"
#include "ops/device.h"
#include "tensor/buffer.h"
#include "tensor/float16.h"

namespace cadre {

// ByteRows that own their memory; grows, never shrinks.
class ByteRowsBuffer {
 public:
  // Room for `rows` rows of `cols` values; contents are unspecified after.
  ByteRows Reserve(int64_t rows, int64_t cols);

 private:
  Buffer<int8_t> values_;
  Buffer<float> scales_;
  Buffer<float> offsets_;
};

// Those from row r on.
inline ByteRows FromRow(const ByteRows& rows, int64_t r) {
  return {rows.values + r * rows.stride, rows.scales + r * (rows.stride / 4),
          rows.offsets + r * rows.offset_stride, rows.stride, rows.offset_stride};
}

class MatMulRunner {
 public:
  MatMulRunner(const KernelTable& kernels, ThreadPool& threads)
      : kernels_(kernels), threads_(threads) {}

  // As Device::MatMul.
  void Run(Mat<const float> x, const Weight& w, ActivationType activation, Mat<float> out);
  int64_t PackedBytes(const Weight& w) const;
  void Pack(const Weight& w, std::byte* packed);
  // out[t] = decoded row ids[t]. As Device::Embed.
  void DecodeRows(const Weight& w, std::span<const int32_t> ids, Mat<float> out);

 private:
  // Weight rows [row, row + rows) times tokens [token, token + tokens).
  struct Cell {
    int64_t row, rows, token, tokens;
  };
  template <typename RunCell>
  void ForCells(int64_t num_rows, int64_t num_tokens, const RunCell& run_cell);

  void RunFloat(Mat<const float> x, const Weight& w, Mat<float> out);
  void RunBytes(Mat<const float> x, const Weight& w, Mat<float> out);
  struct PanelPlan;
  void RunPanels(Mat<const float> x, const Weight& w, Mat<float> out);
  void RoundTiles(Mat<const float> x, const Weight& w, PanelPlan& plan);
  void SumPanels(const std::byte* panels, int64_t count, DType type, const PanelPlan& plan,
                 float* sums) const;
  bool HasPanels(DType type) const;
  // x as 16-bit floats would hold it.
  Mat<const float> RoundToBF16(Mat<const float> x);
  // A copy of weights of float32, packed where BF16 has panels. Valid until the next one.
  Weight RoundToBF16(const Weight& w);
  PanelSource PanelOf(const Weight& w, int64_t panel) const;

  const KernelTable& kernels_;
  ThreadPool& threads_;
  ByteRowsBuffer tokens_;
  ByteRowsBuffer unpacked_;   // kBlockRows rows per thread
  Buffer<float> decoded_;     // kBlockRows rows per thread
  Buffer<std::byte> tiles_;   // of all tokens
  Buffer<std::byte> panels_;  // kPanelsPerTask per thread, where weights are not packed
  Buffer<float> rounded_;     // activations that BF16 weights meet without panels
  Buffer<BF16> halves_;       // of float32 weights, and their panels
  Buffer<std::byte> half_panels_;
  Buffer<float> sums_;  // of kPanelsPerTask panels with all tokens, per thread
};

}  // namespace cadre
