#include "eval/kv_branch.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"

namespace cadre {

KvBranch::KvBranch(const KvBranch& parent, int64_t end) : pool_(parent.pool_) {
  const auto num_full = static_cast<size_t>(end / kKvBlock);
  const bool has_rest = end % kKvBlock != 0;
  CADRE_CHECK(num_full + (has_rest ? 1 : 0) <= parent.pages_.size());
  pages_.assign(parent.pages_.begin(),
                parent.pages_.begin() + static_cast<std::ptrdiff_t>(num_full));
  num_shared_ = num_full;
  if (!has_rest) return;
  pages_.push_back(pool_->Take());
  std::memcpy(pages_.back(), parent.pages_[num_full],
              static_cast<size_t>(pool_->shape().page_bytes()));
}

KvBranch::KvBranch(KvBranch&& other) noexcept
    : pool_(other.pool_), pages_(std::move(other.pages_)), num_shared_(other.num_shared_) {
  other.pages_.clear();
  other.num_shared_ = 0;
}

void KvBranch::Reserve(int64_t end) {
  const auto num_pages = static_cast<size_t>((end + kKvBlock - 1) / kKvBlock);
  while (pages_.size() < num_pages) pages_.push_back(pool_->Take());
}

void KvBranch::Truncate(int64_t end) {
  const auto num_pages = static_cast<size_t>((end + kKvBlock - 1) / kKvBlock);
  while (pages_.size() > num_pages) {
    if (pages_.size() > num_shared_) pool_->Give(pages_.back());
    pages_.pop_back();
  }
  num_shared_ = std::min(num_shared_, pages_.size());
}

int64_t KvBranch::NumOwnPages(int64_t begin, int64_t end) {
  return (end + kKvBlock - 1) / kKvBlock - begin / kKvBlock;
}

}  // namespace cadre
