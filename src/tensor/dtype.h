// The element types of stored weights, with the size of their blocks. Numbers are those of ggml
// (GGUF files carry them).
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace cadre {

enum class DType : uint8_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ8_0 = 8,
  kQ4_K = 12,
  kQ6_K = 14,
  kBF16 = 30,
};

struct DTypeInfo {
  DType type;
  std::string_view name;  // as in GGUF tools: "F32", "Q4_K"
  int block_elems;        // values of one block, consecutive in a row
  int block_bytes;
};

const DTypeInfo& Info(DType type);
std::optional<DType> DTypeFromGgml(uint32_t ggml_id);
// Case does not matter: "q4_k" and "Q4_K".
std::optional<DType> DTypeFromName(std::string_view name);

inline bool IsQuantised(DType type) { return Info(type).block_elems > 1; }

// Bytes of a row of `cols` values; cols must be a multiple of block_elems.
int64_t RowBytes(DType type, int64_t cols);

}  // namespace cadre
