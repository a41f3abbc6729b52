// Whole sequences into batches of bounded size.
#pragma once

#include <cstdint>
#include <vector>

#include "train/batch.h"

namespace cadre {

class BatchPacker {
 public:
  // Fills `batches` from the first on; their memory is used again.
  BatchPacker(std::vector<TrainingBatch>& batches, int64_t max_rows)
      : batches_(batches), max_rows_(max_rows) {}

  // The batch to append `rows` rows to: the last one, or a new one where it would then have more
  // than max_rows. More than that alone has a batch of its own.
  TrainingBatch& WithRoom(int64_t rows) {
    const bool fits =
        used_ > 0 && static_cast<int64_t>(batches_[used_ - 1].ids.size()) + rows <= max_rows_;
    if (!fits) {
      if (batches_.size() == used_) batches_.emplace_back();
      batches_[used_++].Clear();
    }
    return batches_[used_ - 1];
  }

  // Leaves the batches that were used.
  void Finish() { batches_.resize(used_); }

 private:
  std::vector<TrainingBatch>& batches_;
  int64_t max_rows_;
  size_t used_ = 0;
};

}  // namespace cadre
