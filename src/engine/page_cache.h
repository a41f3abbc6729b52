// Pages of keys and values within a budget. What was computed for one request is kept, as a tree of
// pages with the ids they hold, and begins later requests with the same ids: whole pages are
// shared, a page of which only a beginning agrees is copied. Pages nobody uses go when others need
// room, the least recently used first. Knows nothing of scheduling. Not thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "model/kv_cache.h"

namespace cadre {

class PageCache {
  struct Node;

 public:
  // The pages of one request: those before the first position that is not run are full of it.
  // Gives back what it holds when it ends.
  class Chain {
   public:
    explicit Chain(PageCache& cache) : cache_(&cache) {}
    ~Chain() { Release(); }
    Chain(const Chain&) = delete;
    Chain& operator=(const Chain&) = delete;

    // Only while nothing is held: takes over the longest beginning of `ids` that is known, of at
    // most max_tokens. Returns how many positions need not be run. window: keys a query sees, 0:
    // all.
    int64_t Begin(std::span<const int32_t> ids, int64_t max_tokens, int64_t window);
    // Makes room for positions [0, end). Returns false, and keeps what it has got so far, when no
    // page is left.
    bool Reserve(int64_t end);
    // The keys and values of the next ids are now in the pages.
    void Commit(std::span<const int32_t> ids);
    // No later query looks before `begin`.
    void ReleaseBefore(int64_t begin);
    // Gives everything back; it stays known for others.
    void Release();

    int64_t committed() const { return committed_; }  // positions
    KvSequence view() const { return {pages_}; }

   private:
    friend class PageCache;
    void Push(Node* node);
    void BeginPartial(Node* parent, std::span<const int32_t> ids);

    PageCache* cache_;
    std::vector<Node*> nodes_;
    std::vector<std::byte*> pages_;  // null: released
    size_t first_held_ = 0;          // nodes before it are not held any more
    int64_t committed_ = 0;
  };

  // keeps: pages outlive the request that made them.
  PageCache(const KvShape& shape, int64_t max_pages, bool keeps);
  ~PageCache();
  PageCache(const PageCache&) = delete;
  PageCache& operator=(const PageCache&) = delete;

  // How many of `ids` Begin would take over now.
  int64_t KnownPrefix(std::span<const int32_t> ids) const;

  int64_t max_pages() const { return max_pages_; }
  int64_t used() const { return used_; }                    // held by chains
  int64_t kept() const { return std::ssize(idle_); }        // known and held by nobody
  int64_t available() const { return max_pages_ - used_; }  // free, or can be made so
  int64_t page_bytes() const { return pool_.shape().page_bytes(); }

 private:
  // A page in the tree. Children only under full ones. A page that has been given up leaves its
  // node hollow as long as nodes hang under it.
  struct Node {
    Node* parent = nullptr;
    std::vector<Node*> children = {};
    std::vector<int32_t> ids = {};  // at most kKvBlock
    std::byte* page = nullptr;
    uint64_t hash = 0;  // of all ids up to here, when full
    int64_t holders = 0;
    uint64_t last_used = 0;  // the key in idle_
  };

  std::byte* TakePage();  // null: none left
  void Attach(Node* node, Node* parent);
  Node* FindFull(const Node* parent, std::span<const int32_t> ids) const;
  // The child that shares most with ids, and how much.
  std::pair<Node*, int64_t> FindPartial(const Node* parent, std::span<const int32_t> ids) const;
  void Hold(Node* node);
  void LetGo(Node* node);
  void GiveUpPage(Node* node);
  void RemoveIfEmpty(Node* node);
  void Seal(Node* node);

  KvPagePool pool_;
  int64_t max_pages_;
  bool keeps_;
  int64_t taken_ = 0;  // pages of the pool that nodes have
  int64_t used_ = 0;
  uint64_t clock_ = 0;
  Node root_;
  std::unordered_multimap<uint64_t, Node*> full_;  // by hash
  std::map<uint64_t, Node*> idle_;                 // by last_used: pages that nobody holds
};

}  // namespace cadre
