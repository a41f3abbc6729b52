// Where a row of wq or wk stands in the other RoPE layout: Hugging Face rotates the halves of a
// head (i, i + D/2), GGUF and Mistral-native files neighbours (2i, 2i + 1). Source: llama.cpp
// convert_hf_to_gguf.py.
#pragma once

#include <cstdint>

namespace cadre {

// The interleaved layout's row that holds the half-split layout's row `row`; both in the same head
// of head_dim rows.
inline int64_t InterleavedRow(int64_t row, int64_t head_dim) {
  const int64_t in_head = row % head_dim;
  return row - in_head + 2 * (in_head % (head_dim / 2)) + in_head / (head_dim / 2);
}

// The inverse.
inline int64_t HalfSplitRow(int64_t row, int64_t head_dim) {
  const int64_t in_head = row % head_dim;
  return row - in_head + in_head % 2 * (head_dim / 2) + in_head / 2;
}

}  // namespace cadre
