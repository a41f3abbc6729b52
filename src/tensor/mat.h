// Views of row-major matrices. A view does not own; pass it by value.
#pragma once

#include <cstdint>
#include <span>
#include <type_traits>

#include "base/error.h"

namespace cadre {

// [rows, cols], row r at data + r * stride; stride >= cols.
template <typename T>
struct Mat {
  T* data = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t stride = 0;

  Mat() = default;
  Mat(T* data_, int64_t rows_, int64_t cols_) : Mat(data_, rows_, cols_, cols_) {}
  Mat(T* data_, int64_t rows_, int64_t cols_, int64_t stride_)
      : data(data_), rows(rows_), cols(cols_), stride(stride_) {}
  // Mat<float> is a Mat<const float>.
  template <typename U>
  // NOLINTNEXTLINE(google-explicit-constructor): the conversion is meant
  requires std::is_same_v<const U, T> Mat(Mat<U> other)
      : Mat(other.data, other.rows, other.cols, other.stride) {}

  T* row(int64_t r) const { return data + r * stride; }
  std::span<T> row_span(int64_t r) const { return {row(r), static_cast<size_t>(cols)}; }
  // Rows [begin, end).
  Mat Rows(int64_t begin, int64_t end) const {
    CADRE_CHECK(0 <= begin && begin <= end && end <= rows);
    return {row(begin), end - begin, cols, stride};
  }
  bool empty() const { return rows == 0 || cols == 0; }
};

}  // namespace cadre
