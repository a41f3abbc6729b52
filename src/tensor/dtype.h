// The element types of stored weights, with the size of their blocks. Numbers are those of ggml
// (GGUF files carry them).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace cadre {

enum class DType : uint8_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ2_K = 10,
  kQ3_K = 11,
  kQ4_K = 12,
  kQ5_K = 13,
  kQ6_K = 14,
  kIQ4_NL = 20,
  kIQ4_XS = 23,
  kBF16 = 30,
};

struct DTypeInfo {
  DType type;
  std::string_view name;  // as in GGUF tools: "F32", "Q4_K"
  int block_elems;        // values of one block, consecutive in a row
  int block_bytes;
};

const DTypeInfo& Info(DType type);
std::span<const DTypeInfo> AllDTypes();  // floats first, then by bits
std::optional<DType> DTypeFromGgml(uint32_t ggml_id);
// Case does not matter: "q4_k" and "Q4_K".
std::optional<DType> DTypeFromName(std::string_view name);

inline bool IsQuantised(DType type) { return Info(type).block_elems > 1; }

// Bytes of a row of `cols` values; cols must be a multiple of block_elems.
int64_t RowBytes(DType type, int64_t cols);

}  // namespace cadre
