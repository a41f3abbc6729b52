// How likely a model finds continuations, many together: what requests share at their beginning is
// computed once, for the window and for each item, and rows of all items run side by side. Scores
// are the same bits as of each request alone (contract 1 of ARCHITECTURE.md).
#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/sequence.h"
#include "eval/kv_branch.h"

namespace cadre {

// What is given, and what is asked for behind it. Neither is empty.
struct LikelihoodRequest {
  std::vector<int32_t> ids;  // both
  int64_t num_given = 0;     // the first ones

  // Rows [0, num_rows) are run; row t is asked how likely ids[t + 1] is from num_given - 1 on.
  int64_t num_rows() const { return std::ssize(ids) - 1; }
};

// The requests of one item, which have much in common.
using ItemRequests = std::vector<LikelihoodRequest>;

struct Likelihood {
  double log_likelihood = 0;  // sum over the asked ids of ln p, in their order
  bool is_greedy = true;      // each of them is the likeliest (ties: the lowest id)
};

// Not thread-safe. Model, experts and device must outlive it.
class LikelihoodScorer {
 public:
  // max_kv_bytes: keys and values of what is computed together, unless one item needs more.
  LikelihoodScorer(const Model& model, ExpertSource& experts, Device& device,
                   const SequenceConfig& config, int64_t max_kv_bytes = int64_t{1} << 30);

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
  int64_t rows_run() const { return rows_run_; }  // since the beginning

 private:
  struct Asked;  // what one request is told
  struct Part;   // rows that follow each other in one branch
  struct Window;

  void PlanTrunks(std::span<const ItemRequests> items, Window& window) const;
  void PlanEnds(std::span<const ItemRequests> items, Window& window) const;
  void CheckIds(std::span<const ItemRequests> items) const;
  bool SharePrefix(std::span<const int32_t> prefix, const std::atomic<bool>* cancelled);
  bool RunParts(std::span<const Part> parts, const std::atomic<bool>* cancelled);
  void ClearStep();
  void AddRows(const Part& part, int64_t first, int64_t count);
  void RunStep();
  void Tell(int64_t wanted) const;

  const Model* model_;
  ExpertSource* experts_;
  Device* device_;
  SequenceConfig config_;
  int64_t max_pages_;
  KvPagePool pool_;
  KvBranch prefix_;
  std::vector<int32_t> prefix_ids_;
  Activations activations_;
  Buffer<float> logits_;
  int64_t rows_run_ = 0;

  // Of the step.
  std::vector<int32_t> ids_;
  std::vector<int64_t> positions_;
  std::vector<int32_t> sequence_of_row_;
  std::vector<KvSequence> sequences_;
  std::vector<int64_t> wanted_rows_;
  std::vector<std::span<Asked* const>> told_;  // [wanted_rows] who asks
};

}  // namespace cadre
