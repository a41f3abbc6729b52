// Tokenised documents, cut into segments, shuffled by epoch. The batch of a step is a pure function
// of the step number, so a resumed run needs to know nothing else.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "text/tokenizer.h"
#include "train/trainer.h"

namespace cadre {

class Dataset {
 public:
  // Reads and encodes the files: BOS document EOS. Throws Error for what documents.h refuses and
  // when nothing is left.
  Dataset(const std::vector<std::string>& files, const Tokenizer& tokenizer, int64_t segment_tokens,
          ThreadPool& threads);

  // Trained-on tokens of one pass (every token but the BOS of each document).
  int64_t tokens_per_epoch() const { return first_target_.back(); }
  int64_t num_documents() const { return num_documents_; }
  int64_t text_bytes() const { return text_bytes_; }

  // Segments whose targets are [step * batch_tokens, (step + 1) * batch_tokens) of the endless
  // shuffled stream; step from 0. A segment that a batch boundary cuts continues in the next batch
  // as a sequence of its own.
  void FillBatch(int64_t step, int64_t batch_tokens, uint64_t seed, TrainingBatch& batch) const;

  // Every segment in file order, `batch_tokens` at most per batch: for validation. Returns the
  // segment to go on from.
  size_t FillInOrder(size_t segment, int64_t batch_tokens, TrainingBatch& batch) const;
  size_t num_segments() const { return segments_.size(); }

 private:
  struct Segment {
    int64_t begin;  // first input token
    int64_t targets;
  };
  const std::vector<uint32_t>& EpochOrder(int64_t epoch, uint64_t seed) const;
  const std::vector<int64_t>& EpochOffsets() const { return first_target_of_shuffled_; }

  std::vector<int32_t> tokens_;
  std::vector<Segment> segments_;
  std::vector<int64_t> first_target_;  // [segments + 1] in file order
  int64_t num_documents_ = 0;
  int64_t text_bytes_ = 0;
  // The order of the epoch asked for last.
  mutable int64_t epoch_ = -1;
  mutable uint64_t epoch_seed_ = 0;
  mutable std::vector<uint32_t> order_;
  mutable std::vector<int64_t> first_target_of_shuffled_;  // [segments + 1]
};

}  // namespace cadre
