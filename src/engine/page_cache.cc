#include "engine/page_cache.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"

namespace cadre {
namespace {

// Fewer positions than this are sooner run again than copied and kept.
constexpr int64_t kLeastPartial = 8;

// Chained: what a block's hash says depends on all blocks before it. Only an index: ids are
// compared.
uint64_t HashBlock(uint64_t before, std::span<const int32_t> ids) {
  uint64_t hash = before ^ 0x9e3779b97f4a7c15u;
  for (const int32_t id : ids) {
    hash = (hash ^ static_cast<uint32_t>(id)) * 0xff51afd7ed558ccdu;
    hash ^= hash >> 32;
  }
  return hash;
}

int64_t CommonPrefix(std::span<const int32_t> a, std::span<const int32_t> b) {
  const auto size = static_cast<std::ptrdiff_t>(std::min(a.size(), b.size()));
  return std::mismatch(a.begin(), a.begin() + size, b.begin()).first - a.begin();
}

std::span<const int32_t> From(std::span<const int32_t> ids, int64_t begin) {
  return ids.subspan(static_cast<size_t>(begin));
}

}  // namespace

PageCache::PageCache(const KvShape& shape, int64_t max_pages, bool keeps)
    : pool_(shape), max_pages_(max_pages), keeps_(keeps) {
  CADRE_CHECK(max_pages > 0);
}

PageCache::~PageCache() {
  CADRE_CHECK(used_ == 0);
  while (!idle_.empty()) GiveUpPage(idle_.begin()->second);
}

std::byte* PageCache::TakePage() {
  if (taken_ == max_pages_) {
    if (idle_.empty()) return nullptr;
    GiveUpPage(idle_.begin()->second);
  }
  std::byte* page = pool_.Take();
  ++taken_;
  return page;
}

void PageCache::Attach(Node* node, Node* parent) {
  node->parent = parent;
  node->ids.reserve(static_cast<size_t>(kKvBlock));
  parent->children.push_back(node);
}

PageCache::Node* PageCache::FindFull(const Node* parent, std::span<const int32_t> ids) const {
  const auto block = ids.first(static_cast<size_t>(kKvBlock));
  const auto [begin, end] = full_.equal_range(HashBlock(parent->hash, block));
  for (auto it = begin; it != end; ++it) {
    Node* node = it->second;
    if (node->parent == parent && std::ranges::equal(node->ids, block)) return node;
  }
  return nullptr;
}

std::pair<PageCache::Node*, int64_t> PageCache::FindPartial(const Node* parent,
                                                            std::span<const int32_t> ids) const {
  std::pair<Node*, int64_t> best = {nullptr, 0};
  for (Node* child : parent->children) {
    if (child->page == nullptr) continue;
    const int64_t common = CommonPrefix(child->ids, ids);
    if (common > best.second) best = {child, common};
  }
  return best.second >= kLeastPartial ? best : std::pair<Node*, int64_t>{nullptr, 0};
}

int64_t PageCache::KnownPrefix(std::span<const int32_t> ids) const {
  const Node* node = &root_;
  int64_t known = 0;
  while (std::ssize(ids) - known >= kKvBlock) {
    const Node* next = FindFull(node, From(ids, known));
    if (next == nullptr || next->page == nullptr) break;
    node = next;
    known += kKvBlock;
  }
  return known + FindPartial(node, From(ids, known)).second;
}

void PageCache::Hold(Node* node) {
  if (node->holders++ > 0) return;
  if (node->last_used != 0) idle_.erase(node->last_used);
  node->last_used = 0;
  ++used_;
}

// Parents are let go after their children, so they are given up after them.
void PageCache::LetGo(Node* node) {
  CADRE_CHECK(node->holders > 0);
  if (--node->holders > 0) return;
  --used_;
  node->last_used = ++clock_;
  idle_.emplace(node->last_used, node);
  if (!keeps_ || std::ssize(node->ids) < kLeastPartial) GiveUpPage(node);
}

void PageCache::GiveUpPage(Node* node) {
  CADRE_CHECK(node->holders == 0 && node->page != nullptr);
  idle_.erase(node->last_used);
  node->last_used = 0;
  pool_.Give(node->page);
  node->page = nullptr;
  --taken_;
  RemoveIfEmpty(node);
}

void PageCache::RemoveIfEmpty(Node* node) {
  while (node != &root_ && node->page == nullptr && node->children.empty()) {
    Node* parent = node->parent;
    const auto [begin, end] = full_.equal_range(node->hash);
    for (auto it = begin; it != end; ++it) {
      if (it->second != node) continue;
      full_.erase(it);
      break;
    }
    std::erase(parent->children, node);
    delete node;
    node = parent;
  }
}

void PageCache::Seal(Node* node) {
  node->hash = HashBlock(node->parent->hash, node->ids);
  full_.emplace(node->hash, node);
}

void PageCache::Chain::Push(Node* node) {
  cache_->Hold(node);
  nodes_.push_back(node);
  pages_.push_back(node->page);
}

int64_t PageCache::Chain::Begin(std::span<const int32_t> ids, int64_t max_tokens, int64_t window) {
  CADRE_CHECK(nodes_.empty());
  const auto wanted =
      ids.first(static_cast<size_t>(std::clamp<int64_t>(max_tokens, 0, std::ssize(ids))));
  Node* node = &cache_->root_;
  std::vector<Node*> path;
  while (std::ssize(wanted) - std::ssize(path) * kKvBlock >= kKvBlock) {
    node = cache_->FindFull(node, From(wanted, std::ssize(path) * kKvBlock));
    if (node == nullptr) break;
    path.push_back(node);
  }
  // The pages that the next query sees must still be there.
  const auto first_seen = [&](int64_t end) {
    const int64_t last = std::max<int64_t>(0, end - 1) / kKvBlock;  // held in any case
    return window > 0 ? std::clamp<int64_t>((end - window + 1) / kKvBlock, 0, last) : 0;
  };
  const auto whole = [&] {
    for (auto i = first_seen(std::ssize(path) * kKvBlock); i < std::ssize(path); ++i) {
      if (path[static_cast<size_t>(i)]->page == nullptr) return false;
    }
    return true;
  };
  while (!whole()) path.pop_back();

  first_held_ = static_cast<size_t>(first_seen(std::ssize(path) * kKvBlock));
  for (size_t i = 0; i < path.size(); ++i) {
    if (i >= first_held_) {
      Push(path[i]);
    } else {
      nodes_.push_back(path[i]);
      pages_.push_back(nullptr);
    }
  }
  committed_ = std::ssize(path) * kKvBlock;
  BeginPartial(path.empty() ? &cache_->root_ : path.back(), From(wanted, committed_));
  return committed_;
}

// The page after the whole ones: another's unfinished page that nobody writes any more is taken
// over, else copied as far as it agrees.
void PageCache::Chain::BeginPartial(Node* parent, std::span<const int32_t> ids) {
  const auto [like, common] = cache_->FindPartial(parent, ids);
  if (like == nullptr) return;
  const bool is_free = like->holders == 0 && common == std::ssize(like->ids) && common < kKvBlock;
  cache_->Hold(like);  // not the page that goes to make room for the copy
  if (is_free) {
    nodes_.push_back(like);
    pages_.push_back(like->page);
    committed_ += common;
    return;
  }
  std::byte* page = nullptr;
  try {
    page = cache_->TakePage();
  } catch (const std::bad_alloc&) {  // then it is run anew
  }
  if (page != nullptr) {
    std::memcpy(page, like->page, static_cast<size_t>(cache_->page_bytes()));
    Push(new Node{.page = page});
    cache_->Attach(nodes_.back(), parent);
    nodes_.back()->ids.assign(like->ids.begin(), like->ids.begin() + common);
    committed_ += common;
  }
  cache_->LetGo(like);
}

bool PageCache::Chain::Reserve(int64_t end) {
  while (std::ssize(nodes_) * kKvBlock < end) {
    // A node's place in the tree is known when it gets its first id: until then it hangs nowhere.
    std::byte* page = cache_->TakePage();
    if (page == nullptr) return false;
    Push(new Node{.page = page});
  }
  return true;
}

void PageCache::Chain::Commit(std::span<const int32_t> ids) {
  while (!ids.empty()) {
    const auto i = static_cast<size_t>(committed_ / kKvBlock);
    CADRE_CHECK(i < nodes_.size());
    Node* node = nodes_[i];
    if (node->parent == nullptr) cache_->Attach(node, i == 0 ? &cache_->root_ : nodes_[i - 1]);
    const auto count = std::min(ids.size(), static_cast<size_t>(kKvBlock) - node->ids.size());
    node->ids.insert(node->ids.end(), ids.begin(),
                     ids.begin() + static_cast<std::ptrdiff_t>(count));
    committed_ += static_cast<int64_t>(count);
    ids = ids.subspan(count);
    if (std::ssize(node->ids) == kKvBlock) cache_->Seal(node);
  }
}

void PageCache::Chain::ReleaseBefore(int64_t begin) {
  const int64_t last = std::max<int64_t>(0, committed_ - 1) / kKvBlock;  // its node hangs on it
  const auto first = static_cast<size_t>(std::clamp<int64_t>(begin / kKvBlock, 0, last));
  for (; first_held_ < first; ++first_held_) {
    pages_[first_held_] = nullptr;
    cache_->LetGo(nodes_[first_held_]);
  }
}

void PageCache::Chain::Release() {
  while (nodes_.size() > first_held_) {
    Node* node = nodes_.back();
    nodes_.pop_back();
    if (node->parent == nullptr) {  // reserved, never written
      --cache_->used_;
      --cache_->taken_;
      cache_->pool_.Give(node->page);
      delete node;
    } else {
      cache_->LetGo(node);
    }
  }
  nodes_.clear();
  pages_.clear();
  first_held_ = 0;
  committed_ = 0;
}

}  // namespace cadre
