// The rows of one pass through the model in training: whole sequences, one after another, each from
// position 0 and seeing only itself, however many share the pass.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace cadre {

// What the routers of another model say of a batch's rows.
struct RoutingTargets {
  std::vector<float> probs;      // [layers, T, E] softmax over all experts; empty: not asked for
  std::vector<int32_t> experts;  // [layers, T, k] its choices in order; empty: not asked for
};

struct TrainingBatch {
  std::vector<int32_t> ids;              // [T]
  std::vector<int32_t> targets;          // [T] the next token; -1: not trained on
  std::vector<int64_t> positions;        // [T]
  std::vector<int32_t> sequence_of_row;  // [T]
  int64_t num_sequences = 0;
  // [num_sequences] what another model gives the sequence's targets, as the sum of their log
  // probabilities; empty for objectives that do not ask.
  std::vector<double> reference_log_probs;
  std::vector<uint8_t> mask;  // [T] 0: padding, which the router's losses leave out; empty: none
  // Probabilities are what RouterLossConfig's anchor holds the routers to; experts are those that
  // the rows are trained with, whatever the routers choose.
  RoutingTargets routing;

  // Appends a sequence: tokens[0, n - 1) as inputs, tokens[1, n) as targets, those left out where
  // `trained` (a flag for each token) says 0; none: all are trained on.
  void AddSequence(std::span<const int32_t> tokens, std::span<const uint8_t> trained = {});
  void Clear();
  int64_t CountTargets() const;
};

}  // namespace cadre
