// Tokenised documents, cut into segments. What order they are trained on in, and mixed with what,
// is train/token_stream.h.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "text/tokenizer.h"
#include "train/batch.h"

namespace cadre {

class Dataset {
 public:
  // Reads and encodes the files: BOS document EOS. Throws Error for what documents.h refuses and
  // when nothing is left.
  Dataset(const std::vector<std::string>& files, const Tokenizer& tokenizer, int64_t segment_tokens,
          ThreadPool& threads);

  // Trained-on tokens of one pass (every token but the BOS of each document).
  int64_t tokens_per_epoch() const { return tokens_per_epoch_; }
  int64_t num_documents() const { return num_documents_; }
  int64_t text_bytes() const { return text_bytes_; }

  // A segment's targets with the token before them, and how many targets that is.
  std::span<const int32_t> Segment(size_t i) const {
    return {tokens_.data() + segments_[i].begin, static_cast<size_t>(segments_[i].targets) + 1};
  }
  int64_t SegmentTargets(size_t i) const { return segments_[i].targets; }

  // Every segment in file order, `batch_tokens` at most per batch: for validation. Returns the
  // segment to go on from.
  size_t FillInOrder(size_t segment, int64_t batch_tokens, TrainingBatch& batch) const;
  size_t num_segments() const { return segments_.size(); }

 private:
  struct Place {
    int64_t begin;  // first input token
    int64_t targets;
  };

  std::vector<int32_t> tokens_;
  std::vector<Place> segments_;
  int64_t tokens_per_epoch_ = 0;
  int64_t num_documents_ = 0;
  int64_t text_bytes_ = 0;
};

}  // namespace cadre
