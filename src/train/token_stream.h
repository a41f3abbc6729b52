// What pre-training reads: an endless stream of tokens out of several data sets, mixed by weight
// and shuffled by epoch, and cut into steps. The batches of a step are a function of its number, so
// a resumed run needs to know nothing else.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "train/dataset.h"
#include "train/mixture.h"

namespace cadre {

class TokenStream {
 public:
  struct Source {
    std::string name;
    const Dataset* data = nullptr;
    double weight = 0;  // its share of the tokens, beside the others'; 0: as many as it has
  };

  // At least one source; weights are of all or of none.
  TokenStream(std::vector<Source> sources, int64_t batch_tokens, uint64_t seed);

  // The targets [step * batch_tokens, (step + 1) * batch_tokens) of the stream, whole segments in
  // the order of their draws; step from 0. A segment that a step's end cuts continues in the next
  // step as a sequence of its own. A batch has at most micro_tokens rows, or one sequence.
  void FillBatches(int64_t step, int64_t micro_tokens, std::vector<TrainingBatch>& batches);

  // Up to and including the step filled last.
  double Epochs() const { return mixture_.Epochs(); }
  int64_t TokensOf(size_t source) const { return tokens_of_[source]; }
  const std::vector<Source>& sources() const { return sources_; }

 private:
  // Part of a segment.
  struct Piece {
    size_t source = 0;
    size_t segment = 0;
    int64_t begin = 0;  // in its targets
    int64_t targets = 0;
  };
  void Restart();
  Piece NextPiece(int64_t most_targets);

  std::vector<Source> sources_;
  int64_t batch_tokens_;
  Mixture mixture_;
  std::optional<Piece> rest_;  // of a segment that a step has cut
  int64_t next_step_ = 0;
  std::vector<int64_t> tokens_of_;
};

}  // namespace cadre
