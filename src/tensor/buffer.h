// Owned memory of one element type, 64-byte aligned, zeroed when allocated.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <span>
#include <utility>

#include "tensor/mat.h"

namespace cadre {

template <typename T>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(int64_t size) { Resize(size); }
  Buffer(Buffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~Buffer() { std::free(data_); }

  // Makes room for `size` elements, all zero; what was there is lost. Throws std::bad_alloc.
  void Resize(int64_t size) {
    CADRE_CHECK(size >= 0);
    std::free(std::exchange(data_, nullptr));
    size_ = 0;
    if (size == 0) return;
    const size_t bytes = (static_cast<size_t>(size) * sizeof(T) + 63) / 64 * 64;
    data_ = static_cast<T*>(std::aligned_alloc(64, bytes));
    if (data_ == nullptr) throw std::bad_alloc();
    std::memset(static_cast<void*>(data_), 0, bytes);
    size_ = size;
  }
  // As Resize, but only when there are fewer elements now; contents are unspecified after.
  void Reserve(int64_t size) {
    if (size > size_) Resize(size);
  }
  void Zero() {
    if (size_ > 0)
      std::memset(static_cast<void*>(data_), 0, static_cast<size_t>(size_) * sizeof(T));
  }

  T* data() const { return data_; }
  int64_t size() const { return size_; }
  std::span<T> span() const { return {data_, static_cast<size_t>(size_)}; }
  T& operator[](int64_t i) const { return data_[i]; }
  // The first rows * cols elements as a matrix.
  Mat<T> AsMat(int64_t rows, int64_t cols) const {
    CADRE_CHECK(rows * cols <= size_);
    return {data_, rows, cols};
  }

 private:
  T* data_ = nullptr;
  int64_t size_ = 0;
};

}  // namespace cadre
