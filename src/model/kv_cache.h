// The paged cache of keys and values: a pool of pages (ops/kv_view.h says what lies in one) and the
// pages of one sequence.
#pragma once

#include <cstdint>
#include <vector>

#include "ops/kv_view.h"
#include "tensor/buffer.h"

namespace cadre {

// Owns pages; a page given back is taken again before memory grows. Not thread-safe.
class KvPagePool {
 public:
  explicit KvPagePool(const KvShape& shape) : shape_(shape) {}

  const KvShape& shape() const { return shape_; }
  // Never null; throws std::bad_alloc.
  std::byte* Take();
  void Give(std::byte* page) { free_.push_back(page); }
  // Bytes of all pages, in use or not.
  int64_t bytes() const { return static_cast<int64_t>(pages_.size()) * shape_.page_bytes(); }

 private:
  KvShape shape_;
  std::vector<Buffer<std::byte>> pages_;
  std::vector<std::byte*> free_;
};

// The pages of one sequence. Gives them back when it ends.
class KvCache {
 public:
  explicit KvCache(KvPagePool& pool) : pool_(&pool) {}
  ~KvCache() { Truncate(0); }
  KvCache(KvCache&& other) noexcept : pool_(other.pool_), pages_(std::move(other.pages_)) {
    other.pages_.clear();
  }
  KvCache& operator=(KvCache&&) = delete;

  // Makes room for positions [0, end).
  void Reserve(int64_t end);
  // Gives back pages that hold only positions before `begin`: no later query may look there.
  void ReleaseBefore(int64_t begin);
  // Gives back pages that hold only positions from `end` on.
  void Truncate(int64_t end);

  // Valid until the next change.
  KvSequence view() const { return {pages_}; }

 private:
  KvPagePool* pool_;
  std::vector<std::byte*> pages_;  // null: released
};

}  // namespace cadre
