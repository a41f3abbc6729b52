#include "bench/kernel_case.h"

#include <span>

#include "base/random.h"
#include "tensor/quant.h"

namespace cadre::bench {

std::vector<float> Normals(int64_t count) {
  Random random(1);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = static_cast<float>(random.NextNormal());
  return values;
}

std::vector<std::byte> EncodedRows(DType type, int64_t rows) {
  const std::vector<float> values = Normals(rows * kCols);
  std::vector<std::byte> encoded(static_cast<size_t>(rows * RowBytes(type, kCols)));
  EncodeRow(type, values, encoded.data());
  return encoded;
}

}  // namespace cadre::bench
