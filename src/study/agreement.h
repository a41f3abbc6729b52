// How alike two models route the same tokens: a model and its quantisation, or what it was tuned
// from. Both traces hold the same texts.
#pragma once

#include <cstdint>
#include <vector>

#include "study/trace.h"

namespace cadre {

// Sums over the tokens of a document.
struct AgreementSums {
  double tokens = 0;
  double same_set = 0;       // the same experts, in any order
  double same_first = 0;     // the same first choice
  double shared = 0;         // share of the experts that the other chose too
  double jaccard = 0;        // experts of both over experts of either
  double gate_distance = 0;  // half the sum of |gate - gate'|: weight that went elsewhere
};

AgreementSums CompareRouting(const RoutingTrace& trace, const RoutingTrace& other, int64_t layer,
                             int64_t document);

// By tenths of the tokens, ordered by the first model's margin between the last chosen and the best
// not chosen: the share of tokens with the same set. Small margins are where choices flip.
struct MarginAgreement {
  std::vector<double> margin;    // [10] mean, logits
  std::vector<double> same_set;  // [10]
};
MarginAgreement AgreementByMargin(const RoutingTrace& trace, const RoutingTrace& other,
                                  int64_t layer);

// Throws Error naming what differs when the two cannot be compared.
void CheckComparable(const RoutingTrace& trace, const RoutingTrace& other,
                     const std::string& other_name);

}  // namespace cadre
