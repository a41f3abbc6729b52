// How many of a layer's choices can be known early: by asking its router about the hidden state
// some layers before (what a store prefetches by), or by tables of what was chosen before. Recall:
// the share of the choices that are among the f experts fetched; f/E by chance.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "study/information.h"
#include "study/trace.h"

namespace cadre {

using Recall = std::array<double, RoutingTrace::kMostFetched>;  // for f = 1, 2, ...

struct LayerForesight {
  // By kDistances; zeros where there is no such layer.
  std::array<Recall, RoutingTrace::kDistances.size()> by_router = {};
  // At distance 1, per document, for f = k (or kMostFetched, where that is less).
  std::vector<double> hits_by_document, choices_by_document;
  // The most frequent experts of the layer, whatever the token.
  Recall by_load = {};
  // The most frequent ones of the same token id in the other half of the documents (every second
  // one), as RankByCount has it.
  Recall by_token = {};
  // The most frequent ones after the same first choice of the layer before, in the other half.
  Recall by_last_choice = {};
  Information last_choice;  // I(first choice; first choice of the layer before)
};

// The experts of a table's row, the most frequent first; a row of fewer choices than this says
// nothing, there the most frequent of all come first.
constexpr int64_t kLeastChoices = 8;
// counts, of_all: [E]; returns [E]. Ties: the more frequent of all, then the lower one.
std::vector<uint16_t> RankByCount(std::span<const int64_t> counts, std::span<const int64_t> of_all);

LayerForesight ForesightOf(const RoutingTrace& trace, int64_t layer);

}  // namespace cadre
