// How many of the needed experts a cache would have had, by its size and what it gives up: a replay
// of decoding token by token. All that a token needs is touched before anything is given up for it;
// a hit is counted per expert. Chance: slots / E for even, independent loads.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "study/trace.h"

namespace cadre {

// The choices of one layer in the order in which they are needed: [n, k].
struct ChoiceStream {
  std::span<const uint16_t> experts;
  int64_t top_k = 0;
  int64_t num_experts = 0;
  int64_t tokens() const { return std::ssize(experts) / top_k; }
  std::span<const uint16_t> At(int64_t t) const {
    return experts.subspan(static_cast<size_t>(t * top_k), static_cast<size_t>(top_k));
  }
};

// Hits of a least-recently-used cache, all sizes at once: [E + 1] by slots; fewer than k hold the
// highest ranks of the last token.
std::vector<int64_t> LruHits(const ChoiceStream& stream);
// The least frequently used so far goes; ties: the least recently used.
int64_t LfuHits(const ChoiceStream& stream, int64_t slots);
// Belady's optimum: what is needed furthest in the future goes. slots >= k.
int64_t BeladyHits(const ChoiceStream& stream, int64_t slots);

// Hit rates by size; all from k to E, or of many sizes some.
struct CacheCurves {
  std::vector<int64_t> slots;  // per layer
  std::vector<double> lru, lfu, most_used, belady;
  std::vector<double> even;  // slots / E
};

CacheCurves CacheCurvesOf(const RoutingTrace& trace, int64_t layer);

// The store's own policy, replayed with slots * layers places that all layers share
// (store/expert_cache.h), over at most `tokens`: hit rates for `slots`.
std::vector<double> StoreHitRates(const RoutingTrace& trace, std::span<const int64_t> slots,
                                  int64_t tokens);

// Sizes worth looking at.
std::vector<int64_t> CacheSizes(int64_t num_experts, int64_t top_k);

}  // namespace cadre
