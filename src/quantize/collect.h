// Collects an importance matrix: runs a text through the model and sums up the squares of what is
// multiplied with each matrix. The model's own code runs unchanged, on a device that listens.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <span>

#include "engine/sequence.h"
#include "formats/imatrix.h"

namespace cadre {

struct CollectOptions {
  int64_t context = 512;  // ids in a window
  int32_t bos_id = -1;    // takes the place of each window's first id; -1: nothing does
  SequenceConfig sequence;
  std::function<void(int64_t done_windows, int64_t total_windows)> on_progress = {};
  const std::atomic<bool>* cancelled = nullptr;
};

struct CollectedImportance {
  ImportanceMatrix matrix;  // datasets are the caller's to name
  int64_t tokens = 0;
  // [layers][E] tokens that each expert was given; empty in a dense model.
  std::vector<std::vector<int64_t>> routed;

  int64_t NumNeverHit() const;
};

// Cuts `ids` into windows as eval/perplexity does (a shorter text is one window; a rest is left
// out). Throws Error for an id outside the vocabulary. Cancelled: what was collected so far.
CollectedImportance CollectImportance(const Model& model, ExpertSource& experts, Device& device,
                                      std::span<const int32_t> ids, const CollectOptions& options);

}  // namespace cadre
