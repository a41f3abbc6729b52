#include "eval/likelihood.h"

#include <algorithm>

#include "base/error.h"

namespace cadre {
namespace {

constexpr int64_t kWindowRows = 2048;  // worth being scored together
// A prefix that windows share is made longer only by so many ids at once: items that begin alike by
// chance are not worth a step of a few rows.
constexpr int64_t kWorthSharing = 32;

int64_t CommonPrefix(std::span<const int32_t> a, std::span<const int32_t> b) {
  const auto size = static_cast<std::ptrdiff_t>(std::min(a.size(), b.size()));
  return std::mismatch(a.begin(), a.begin() + size, b.begin()).first - a.begin();
}

// Rows that all requests of the item have in common.
int64_t TrunkLength(const ItemRequests& item) {
  int64_t length = item.front().num_rows();
  for (const auto& request : item)
    length = std::min(length, CommonPrefix(item.front().rows(), request.rows()));
  return length;
}

// The first rows of `item` that are those of `rows` and that nothing is asked of.
int64_t SharedWith(std::span<const int32_t> rows, const ItemRequests& item) {
  int64_t shared = std::min(TrunkLength(item), CommonPrefix(rows, item.front().rows()));
  for (const auto& request : item) shared = std::min(shared, request.num_given - 1);
  return shared;
}

// What the items take at most together when they share so many rows: a page that a beginning ends
// in is copied for each that goes on from it.
int64_t PagesOf(std::span<const ItemRequests> items, int64_t shared) {
  int64_t pages = KvBranch::NumOwnPages(0, shared);
  for (const ItemRequests& item : items) {
    const int64_t trunk = TrunkLength(item);
    pages += KvBranch::NumOwnPages(std::min(shared, trunk), trunk) + 1;
    for (const auto& request : item)
      if (request.num_rows() > trunk) pages += KvBranch::NumOwnPages(trunk, request.num_rows());
  }
  return pages;
}

}  // namespace

// Items that are scored together.
struct LikelihoodScorer::Window {
  std::vector<std::vector<AskedRequest>> asked;  // [items][requests]
  std::vector<KvBranch> trunks;                  // [items]
  std::vector<KvBranch> ends;                    // of requests that have one
  std::vector<RowsPart> parts;                   // to run next
};

LikelihoodScorer::LikelihoodScorer(const Model& model, ExpertSource& experts, Device& device,
                                   const SequenceConfig& config, int64_t max_kv_bytes)
    : vocab_size_(model.config.vocab_size),
      pool_(model.config.kv_shape(config.kv_type)),
      max_pages_(max_kv_bytes / pool_.shape().page_bytes()),
      prefix_(pool_),
      runner_(model, experts, device, config) {}

int64_t LikelihoodScorer::PagesAlone(const ItemRequests& item) {
  return PagesOf({&item, 1}, SharedWith(item.front().rows(), item));
}

size_t LikelihoodScorer::WindowSize(std::span<const ItemRequests> items) const {
  const auto first = items.front().front().rows();
  int64_t shared = SharedWith(first, items.front());
  int64_t rows = 0;
  size_t count = 0;
  for (const ItemRequests& item : items) {
    const int64_t trunk = TrunkLength(item);
    shared = std::min(shared, SharedWith(first, item));
    rows += trunk - shared;
    for (const auto& request : item) rows += request.num_rows() - trunk;
    if (count > 0 && PagesOf(items.first(count + 1), shared) > max_pages_) break;
    ++count;
    if (rows >= kWindowRows) break;
  }
  return count;
}

void LikelihoodScorer::CheckIds(std::span<const ItemRequests> items) const {
  for (const auto& item : items) {
    CADRE_CHECK(!item.empty());
    for (const auto& request : item) {
      CADRE_CHECK(request.num_given > 0 && request.num_given < std::ssize(request.ids));
      for (const int32_t id : request.ids) {
        if (id < 0 || id >= vocab_size_)
          throw Error("token id is {} but must be from 0 to {}", id, vocab_size_ - 1);
      }
    }
  }
}

// Afterwards prefix_ is a beginning of `prefix`: what it had of it, or nearly all.
bool LikelihoodScorer::SharePrefix(std::span<const int32_t> prefix, bool extend,
                                   const std::atomic<bool>* cancelled) {
  const int64_t known = CommonPrefix(prefix_ids_, prefix);
  prefix_.Truncate(known);
  prefix_ids_.resize(static_cast<size_t>(known));
  if (!extend || std::ssize(prefix) - known < kWorthSharing) return true;
  prefix_.Reserve(std::ssize(prefix));
  const RowsPart part{.branch = &prefix_,
                      .ids = prefix.subspan(static_cast<size_t>(known)),
                      .begin = known,
                      .asked = {}};
  if (!runner_.Run({&part, 1}, cancelled)) return false;
  prefix_ids_.assign(prefix.begin(), prefix.end());
  return true;
}

// What the requests of each item have in common, behind the prefix.
void LikelihoodScorer::PlanTrunks(std::span<const ItemRequests> items, Window& window) const {
  const auto prefix = prefix_ids_.size();
  window.trunks.reserve(items.size());
  for (size_t i = 0; i < items.size(); ++i) {
    const auto trunk = static_cast<size_t>(TrunkLength(items[i]));
    KvBranch& branch = window.trunks.emplace_back(prefix_, static_cast<int64_t>(prefix));
    branch.Reserve(static_cast<int64_t>(trunk));
    if (trunk == prefix) continue;
    RowsPart part{.branch = &branch,
                  .ids = items[i].front().rows().first(trunk).subspan(prefix),
                  .begin = static_cast<int64_t>(prefix),
                  .asked = {}};
    for (AskedRequest& one : window.asked[i]) part.asked.push_back(&one);
    window.parts.push_back(std::move(part));
  }
}

// What each request has of its own.
void LikelihoodScorer::PlanEnds(std::span<const ItemRequests> items, Window& window) const {
  size_t num_requests = 0;
  for (const auto& item : items) num_requests += item.size();
  window.ends.reserve(num_requests);
  for (size_t i = 0; i < items.size(); ++i) {
    const int64_t trunk = TrunkLength(items[i]);
    for (AskedRequest& one : window.asked[i]) {
      const auto rows = one.request->rows();
      if (std::ssize(rows) == trunk) continue;
      KvBranch& branch = window.ends.emplace_back(window.trunks[i], trunk);
      branch.Reserve(std::ssize(rows));
      window.parts.push_back({.branch = &branch,
                              .ids = rows.subspan(static_cast<size_t>(trunk)),
                              .begin = trunk,
                              .asked = {&one}});
    }
  }
}

std::vector<std::vector<Likelihood>> LikelihoodScorer::Score(std::span<const ItemRequests> items,
                                                             const std::atomic<bool>* cancelled) {
  CheckIds(items);
  const auto first = items.front().front().rows();
  int64_t shared = std::ssize(first);
  for (const auto& item : items) shared = std::min(shared, SharedWith(first, item));
  // One item shares nothing that is not there already.
  if (!SharePrefix(first.first(static_cast<size_t>(shared)), items.size() > 1, cancelled))
    return {};

  Window window;
  for (const auto& item : items) window.asked.emplace_back(item.begin(), item.end());
  PlanTrunks(items, window);
  if (!runner_.Run(window.parts, cancelled)) return {};
  window.parts.clear();
  PlanEnds(items, window);
  if (!runner_.Run(window.parts, cancelled)) return {};

  std::vector<std::vector<Likelihood>> scores(items.size());
  for (size_t i = 0; i < items.size(); ++i) {
    for (const AskedRequest& one : window.asked[i]) scores[i].push_back(one.Sum());
  }
  return scores;
}

std::vector<std::vector<Likelihood>> LikelihoodScorer::ScoreOneByOne(
    std::span<const ItemRequests> items, const std::atomic<bool>* cancelled) {
  CheckIds(items);
  std::vector<std::vector<Likelihood>> scores(items.size());
  for (size_t i = 0; i < items.size(); ++i) {
    for (const auto& request : items[i]) {
      AskedRequest one(request);
      KvBranch alone(pool_);
      alone.Reserve(request.num_rows());
      const RowsPart part{.branch = &alone, .ids = request.rows(), .begin = 0, .asked = {&one}};
      if (!runner_.Run({&part, 1}, cancelled)) return {};
      scores[i].push_back(one.Sum());
    }
  }
  return scores;
}

}  // namespace cadre
