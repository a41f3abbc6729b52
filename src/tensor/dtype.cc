#include "tensor/dtype.h"

#include <array>
#include <cctype>

#include "base/error.h"

namespace cadre {
namespace {

constexpr std::array<DTypeInfo, 7> kTypes = {{
    {DType::kF32, "F32", 1, 4},
    {DType::kF16, "F16", 1, 2},
    {DType::kBF16, "BF16", 1, 2},
    {DType::kQ4_0, "Q4_0", 32, 18},
    {DType::kQ8_0, "Q8_0", 32, 34},
    {DType::kQ4_K, "Q4_K", 256, 144},
    {DType::kQ6_K, "Q6_K", 256, 210},
}};

}  // namespace

const DTypeInfo& Info(DType type) {
  for (const auto& info : kTypes) {
    if (info.type == type) return info;
  }
  CADRE_CHECK(false && "a DType outside the table");
  return kTypes[0];
}

std::optional<DType> DTypeFromGgml(uint32_t ggml_id) {
  for (const auto& info : kTypes) {
    if (static_cast<uint32_t>(info.type) == ggml_id) return info.type;
  }
  return std::nullopt;
}

std::optional<DType> DTypeFromName(std::string_view name) {
  for (const auto& info : kTypes) {
    const bool same = name.size() == info.name.size() &&
                      std::equal(name.begin(), name.end(), info.name.begin(), [](char a, char b) {
                        return std::toupper(static_cast<unsigned char>(a)) == b;
                      });
    if (same) return info.type;
  }
  return std::nullopt;
}

int64_t RowBytes(DType type, int64_t cols) {
  const auto& info = Info(type);
  CADRE_CHECK(cols % info.block_elems == 0);
  return cols / info.block_elems * info.block_bytes;
}

}  // namespace cadre
