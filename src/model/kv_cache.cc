#include "model/kv_cache.h"

namespace cadre {

std::byte* KvPagePool::Take() {
  if (free_.empty()) {
    pages_.emplace_back(shape_.page_bytes());
    return pages_.back().data();
  }
  std::byte* page = free_.back();
  free_.pop_back();
  return page;
}

void KvCache::Reserve(int64_t end) {
  const auto num_pages = static_cast<size_t>((end + kKvBlock - 1) / kKvBlock);
  while (pages_.size() < num_pages) pages_.push_back(pool_->Take());
}

void KvCache::ReleaseBefore(int64_t begin) {
  const auto num_pages =
      std::min(pages_.size(), static_cast<size_t>(std::max<int64_t>(begin, 0) / kKvBlock));
  for (size_t i = num_pages; i-- > 0 && pages_[i] != nullptr;) {
    pool_->Give(pages_[i]);
    pages_[i] = nullptr;
  }
}

void KvCache::Truncate(int64_t end) {
  const auto num_pages = static_cast<size_t>((end + kKvBlock - 1) / kKvBlock);
  while (pages_.size() > num_pages) {
    if (pages_.back() != nullptr) pool_->Give(pages_.back());
    pages_.pop_back();
  }
}

}  // namespace cadre
