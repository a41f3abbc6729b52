// The stored block types, decoded and encoded by plain loops: the truth that every kernel is tested
// against. Layouts: ggml's block_q4_0 to block_iq4_xs; F16, BF16 and F32 are blocks of one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "tensor/dtype.h"

namespace cadre {

// Decodes out.size() values (a multiple of the block) from `bytes` (any alignment). Exact in
// float32.
void DecodeRow(DType type, const std::byte* bytes, std::span<float> out);

// Encodes the values (a multiple of the block) into RowBytes(type, values.size()) bytes. Q4_0,
// Q4_1, Q5_0, Q5_1, Q8_0: ggml's rounding. K and IQ4 types: scales searched for the least squared
// error. F16, BF16: nearest even.
//
// With an `importance` of each value (>= 0, as many as values; only their ratios within a block
// count) scales are searched for the least sum of importance * error^2, in all block types but
// Q8_0.
void EncodeRow(DType type, std::span<const float> values, std::byte* bytes,
               std::span<const float> importance = {});

}  // namespace cadre
