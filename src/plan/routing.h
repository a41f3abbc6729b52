// What is known of a model's routing before it runs: which experts tokens choose one after another,
// and how often the next layer's are foreseen. From files that Cadre wrote, else assumed from what
// Mixtral's paper says of neighbouring tokens.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/config.h"

namespace cadre {

// The choices of some tokens, one after another; after the last comes the first again.
class RoutingTrace {
 public:
  RoutingTrace() = default;
  // choices[layer][token]: the experts, each once. As many tokens in every layer, at least one.
  explicit RoutingTrace(std::vector<std::vector<std::vector<int32_t>>> choices);

  int64_t num_layers() const { return static_cast<int64_t>(choices_.size()); }
  int64_t num_tokens() const { return static_cast<int64_t>(choices_[0].size()); }
  const std::vector<int32_t>& At(int64_t layer, int64_t token) const {
    return choices_[static_cast<size_t>(layer)][static_cast<size_t>(token % num_tokens())];
  }
  // All that the tokens [begin, begin + count) choose, each once, ascending.
  std::vector<int32_t> Union(int64_t layer, int64_t begin, int64_t count) const;

 private:
  std::vector<std::vector<std::vector<int32_t>>> choices_;
};

struct RoutingStatistics {
  RoutingTrace trace;
  double foreseen = 0;  // of the experts needed, the share that guesses name before
  std::string trace_source, foreseen_source;  // in words, for people
  bool is_assumed = true;                     // the trace
};

// Neighbours share experts as often as Mixtral 8x7B's do: P(at least one shared) 48.0, 63.7 and
// 50.9 % in the first, the middle and the last layer, means of the eight domains of arXiv
// 2401.04088 table 5; beyond that uniform. With other numbers of experts each keeps its part of
// what is not chance.
RoutingTrace PublishedLocality(const ModelConfig& config, int64_t tokens, uint64_t seed);

// The share of experts that stay from one token to the next, of each layer, in which neighbours
// choose; the others are drawn from all.
RoutingTrace StickyTrace(const ModelConfig& config, const std::vector<double>& stay, int64_t tokens,
                         uint64_t seed);

// Reads the files: what `cadre logits --routing` writes is a trace; the JSON of `generate --memory`
// or `bench --memory` has the hits at one number of slots, which locality is fitted to, and the
// share foreseen. Later files go before earlier ones. Throws Error naming a file that is neither,
// or of another model.
RoutingStatistics ReadRouting(const std::vector<std::string>& files, const ModelConfig& config,
                              uint64_t seed);

}  // namespace cadre
