// The pages of a sequence that goes on from another one: pages that are full are shared with it,
// the one that both go on in is copied. So a beginning is computed once for all that share it, and
// by contract 1 of ARCHITECTURE.md what follows has the same bits.
#pragma once

#include <cstdint>
#include <vector>

#include "model/kv_cache.h"

namespace cadre {

// Movable; gives its own pages back when it ends. Whom it was forked from must outlive it, and not
// change before its end.
class KvBranch {
 public:
  explicit KvBranch(KvPagePool& pool) : pool_(&pool) {}
  // Goes on after the first `end` positions of `parent`.
  KvBranch(const KvBranch& parent, int64_t end);
  ~KvBranch() { Truncate(0); }
  KvBranch(KvBranch&& other) noexcept;
  KvBranch& operator=(KvBranch&&) = delete;

  // Makes room for positions [0, end).
  void Reserve(int64_t end);
  // Gives back own pages that hold only positions from `end` on, and forgets shared ones.
  void Truncate(int64_t end);

  // Valid until the next change.
  KvSequence view() const { return {pages_}; }

  // Pages that a fork at `begin` takes to reach `end`.
  static int64_t NumOwnPages(int64_t begin, int64_t end);

 private:
  KvPagePool* pool_;
  std::vector<std::byte*> pages_;
  size_t num_shared_ = 0;  // the first ones belong to others
};

}  // namespace cadre
