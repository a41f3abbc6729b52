// Random orders for nulls and resampling: functions of the study's seed and of what they are for,
// so that one statistic's draws never depend on another's.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "base/random.h"

namespace cadre {

enum class DrawFor : uint64_t {
  kBootstrap = 1,
  kShuffleInDocuments,
  kShuffleInDomain,
  kDomainLabels,
  kDomainPairs,
  kTokenLabels,
  kSample,
};

inline Random DrawsFor(uint64_t seed, DrawFor purpose, int64_t a = 0, int64_t b = 0) {
  return Random(seed, static_cast<uint64_t>(purpose) << 48 | static_cast<uint64_t>(a) << 24 |
                          static_cast<uint64_t>(b));
}

// Fisher and Yates.
template <typename T>
void Shuffle(Random& draws, T* values, int64_t count) {
  for (int64_t i = count - 1; i > 0; --i) {
    const auto other = static_cast<int64_t>(draws.NextBelow(static_cast<uint64_t>(i) + 1));
    std::swap(values[i], values[other]);
  }
}

}  // namespace cadre
