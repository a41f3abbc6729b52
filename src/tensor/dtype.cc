#include "tensor/dtype.h"

#include <algorithm>
#include <cctype>

#include "base/error.h"

namespace cadre {
namespace {

constexpr DTypeInfo kTypes[] = {
    {DType::kF32, "F32", 1, 4},           {DType::kF16, "F16", 1, 2},
    {DType::kBF16, "BF16", 1, 2},         {DType::kQ8_0, "Q8_0", 32, 34},
    {DType::kQ6_K, "Q6_K", 256, 210},     {DType::kQ5_1, "Q5_1", 32, 24},
    {DType::kQ5_0, "Q5_0", 32, 22},       {DType::kQ5_K, "Q5_K", 256, 176},
    {DType::kQ4_1, "Q4_1", 32, 20},       {DType::kQ4_0, "Q4_0", 32, 18},
    {DType::kQ4_K, "Q4_K", 256, 144},     {DType::kIQ4_NL, "IQ4_NL", 32, 18},
    {DType::kIQ4_XS, "IQ4_XS", 256, 136}, {DType::kQ3_K, "Q3_K", 256, 110},
    {DType::kQ2_K, "Q2_K", 256, 84},
};

}  // namespace

const DTypeInfo& Info(DType type) {
  for (const auto& info : kTypes) {
    if (info.type == type) return info;
  }
  CADRE_CHECK(false && "a DType outside the table");
  return kTypes[0];
}

std::span<const DTypeInfo> AllDTypes() { return kTypes; }

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
