#include "train/batch.h"

#include <algorithm>

#include "base/error.h"

namespace cadre {

void TrainingBatch::AddSequence(std::span<const int32_t> tokens, std::span<const uint8_t> trained) {
  CADRE_CHECK(tokens.size() >= 2);
  CADRE_CHECK(trained.empty() || trained.size() == tokens.size());
  for (size_t i = 0; i + 1 < tokens.size(); ++i) {
    ids.push_back(tokens[i]);
    targets.push_back(trained.empty() || trained[i + 1] != 0 ? tokens[i + 1] : -1);
    positions.push_back(static_cast<int64_t>(i));
    sequence_of_row.push_back(static_cast<int32_t>(num_sequences));
  }
  ++num_sequences;
}

void TrainingBatch::Clear() {
  ids.clear();
  targets.clear();
  positions.clear();
  sequence_of_row.clear();
  num_sequences = 0;
  reference_log_probs.clear();
  mask.clear();
  routing.probs.clear();
  routing.experts.clear();
}

int64_t TrainingBatch::CountTargets() const {
  return std::count_if(targets.begin(), targets.end(), [](int32_t t) { return t >= 0; });
}

}  // namespace cadre
