// Whether experts know topics: how much the domain of a text, the identity of a token, and the
// domain once the token is known, say about which experts a layer chooses.
#pragma once

#include <cstdint>
#include <vector>

#include "study/bootstrap.h"
#include "study/information.h"
#include "study/trace.h"

namespace cadre {

struct TopicFigures {
  static constexpr int64_t kShuffles = 100;
  // A token takes part in the conditional information when it occurs so often in two domains.
  static constexpr int64_t kLeastOccurrences = 20;

  double expert_bits = 0;  // H(expert): what there is to know
  Information domain;      // I(expert; domain) of a choice
  NullLevel domain_null;   // the same where documents belong to random domains
  Information token;       // I(expert; token id)
  NullLevel token_null;    // where tokens have the choices of random others
  Information domain_given_token;
  NullLevel domain_given_token_null;  // documents belong to random domains
  int64_t tokens_compared = 0;        // token ids in the conditional information
  double share_compared = 0;          // of all tokens
  std::vector<double> divergence;     // [D, D] Jensen-Shannon between domains, bits, less its bias
  std::vector<double> divergence_null;  // [D, D] above 95 of 100 random divisions of the two
};

TopicFigures TopicOf(const RoutingTrace& trace, int64_t layer, uint64_t seed);

}  // namespace cadre
