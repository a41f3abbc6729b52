// A weight matrix of any stored type, as a view: where its bytes are and how to read them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/dtype.h"

namespace cadre {

struct LowRank;

// [rows = outputs, cols = inputs], rows packed one after another. `data` may be misaligned (old
// safetensors files), so kernels read it with unaligned loads only.
struct Weight {
  const std::byte* data = nullptr;
  DType type = DType::kF32;
  int64_t rows = 0;
  int64_t cols = 0;
  const std::byte* packed = nullptr;  // all rows as a device packed them (Device::Pack); or not
  const LowRank* low_rank = nullptr;  // what is added to the matrix; or nothing

  int64_t row_bytes() const { return RowBytes(type, cols); }
  int64_t bytes() const { return rows * row_bytes(); }
  const std::byte* row(int64_t r) const { return data + r * row_bytes(); }
  // Rows [begin, end) as a weight of their own, not packed and with nothing added.
  Weight Rows(int64_t begin, int64_t end) const { return {row(begin), type, end - begin, cols}; }
};

// scale * up down, a matrix of rank `down.rows` beside the [rows, cols] it is added to: LoRA, arXiv
// 2106.09685. Both float32, with nothing added to themselves.
struct LowRank {
  Weight down;  // [rank, cols]: lora_A
  Weight up;    // [rows, rank]: lora_B
  float scale = 1;

  int64_t rank() const { return down.rows; }
};

}  // namespace cadre
