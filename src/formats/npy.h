// Matrices of float32 as NumPy .npy files, version 1.0. Reads and writes exactly that: two
// dimensions, little-endian float32, C order; refuses every other array.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tensor/mat.h"

namespace cadre {

// [rows, cols]; the file appears whole or not at all. Throws Error when it cannot be written.
void WriteNpy(const std::string& path, Mat<const float> matrix);

struct NpyMatrix {
  int64_t rows = 0;
  int64_t cols = 0;
  std::vector<float> values;  // [rows, cols]
  Mat<const float> mat() const { return {values.data(), rows, cols}; }
};

// Throws Error when the file is not such an array or its size is not what the header says.
NpyMatrix ReadNpy(const std::string& path);

}  // namespace cadre
