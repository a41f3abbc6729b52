// How likely a model finds continuations, many together: what requests share at their beginning is
// computed once, for the window and for each item, and rows of all items run side by side. Scores
// are the same bits as of each request alone (contract 1 of ARCHITECTURE.md).
#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <vector>

#include "eval/row_runner.h"

namespace cadre {

// The requests of one item, which have much in common.
using ItemRequests = std::vector<LikelihoodRequest>;

// Not thread-safe. Model, experts and device must outlive it.
class LikelihoodScorer {
 public:
  // max_kv_bytes: keys and values of what is computed together, unless one item needs more.
  LikelihoodScorer(const Model& model, ExpertSource& experts, Device& device,
                   const SequenceConfig& config, int64_t max_kv_bytes = int64_t{1} << 30);

  // Pages of keys and values that an item takes at most when it is scored alone.
  static int64_t PagesAlone(const ItemRequests& item);

  // How many of the first items are best scored together: enough rows to keep the device busy, few
  // enough to fit. At least one.
  size_t WindowSize(std::span<const ItemRequests> items) const;

  // [items][requests]. Keeps the beginning that all share for the next call. Empty: cancelled.
  // Throws Error for an id outside the vocabulary.
  std::vector<std::vector<Likelihood>> Score(std::span<const ItemRequests> items,
                                             const std::atomic<bool>* cancelled);

  // Every request from its first id on, one after another, as if there were no other.
  std::vector<std::vector<Likelihood>> ScoreOneByOne(std::span<const ItemRequests> items,
                                                     const std::atomic<bool>* cancelled);

  int64_t kv_bytes() const { return pool_.bytes(); }
  int64_t rows_run() const { return runner_.rows_run(); }  // since the beginning

 private:
  struct Window;

  void CheckIds(std::span<const ItemRequests> items) const;
  bool SharePrefix(std::span<const int32_t> prefix, bool extend,
                   const std::atomic<bool>* cancelled);
  void PlanTrunks(std::span<const ItemRequests> items, Window& window) const;
  void PlanEnds(std::span<const ItemRequests> items, Window& window) const;

  int64_t vocab_size_;
  KvPagePool pool_;
  int64_t max_pages_;
  KvBranch prefix_;
  std::vector<int32_t> prefix_ids_;
  RowRunner runner_;
};

}  // namespace cadre
