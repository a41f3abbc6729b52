// How long products with matrices take on this machine: what was measured, and what follows from it
// for other sizes. Pure; plan/measure.h fills it.
#pragma once

#include <compare>
#include <cstdint>
#include <map>

#include "tensor/dtype.h"

namespace cadre {

// out = x w^T with x [tokens, cols] and w [rows, cols] of a stored type.
struct MatMulSample {
  DType type = DType::kF32;
  int64_t rows = 0, cols = 0, tokens = 0;
  double seconds = 0;
};

struct MatrixShape {
  int64_t rows = 0, cols = 0;
  auto operator<=>(const MatrixShape&) const = default;
  double weights() const { return static_cast<double>(rows) * static_cast<double>(cols); }
};

class MatMulTimes {
 public:
  void Add(const MatMulSample& sample);
  bool Knows(DType type) const { return shapes_.contains(type); }

  // Between measured numbers of tokens, and beyond them, time goes on in a straight line; a matrix
  // that was not measured takes as long for each weight as the one of its type that is nearest in
  // size. The type must be known.
  double Seconds(DType type, int64_t rows, int64_t cols, int64_t tokens) const;

 private:
  using ByTokens = std::map<int64_t, double>;  // seconds
  std::map<DType, std::map<MatrixShape, ByTokens>> shapes_;
};

}  // namespace cadre
