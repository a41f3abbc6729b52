// What an expert is chosen for: the tokens, and kinds of tokens, that it gets more often than its
// load explains.
#pragma once

#include <cstdint>
#include <vector>

#include "study/trace.h"

namespace cadre {

struct TypicalToken {
  int32_t id = 0;
  int64_t count = 0;        // choices of the expert for this token
  int64_t occurrences = 0;  // of the token
  double lift = 0;          // P(token | expert) / P(token)
  int64_t example = 0;      // a token of the trace that is one, and whose choice it is
};

// [E, up to `most`] those that add most to the divergence of the expert's tokens from all tokens,
// count ln lift; ids seen at least `least` times, lift above 1.
std::vector<std::vector<TypicalToken>> TypicalTokensOf(const RoutingTrace& trace,
                                                       const RoutingTrace::Layer& layer,
                                                       int64_t most, int64_t least);

// [groups, E] choices; group_of: [vocab].
std::vector<int64_t> GroupCounts(const RoutingTrace& trace, const RoutingTrace::Layer& layer,
                                 const std::vector<int32_t>& group_of, int64_t num_groups);

}  // namespace cadre
