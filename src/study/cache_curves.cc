#include "study/cache_curves.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "base/error.h"
#include "store/expert_cache.h"
#include "study/load_figures.h"

namespace cadre {
namespace {

// A cache of a fixed size over one layer: who is in, and a worth by which the least goes.
template <typename Worth>
class Replay {
 public:
  Replay(const ChoiceStream& stream, int64_t slots, Worth& worth)
      : stream_(stream), slots_(slots), worth_(worth) {
    CADRE_CHECK(slots >= stream.top_k);
    is_in_.resize(static_cast<size_t>(stream.num_experts));
  }

  int64_t Hits() {
    int64_t hits = 0;
    for (int64_t t = 0; t < stream_.tokens(); ++t) {
      const auto needed = stream_.At(t);
      for (const uint16_t expert : needed) hits += is_in_[expert];
      worth_.Use(t, needed);
      for (const uint16_t expert : needed) Bring(expert, needed);
    }
    return hits;
  }

 private:
  void Bring(uint16_t expert, std::span<const uint16_t> needed) {
    if (is_in_[expert] != 0) return;
    if (num_in_ == slots_) GiveUp(needed);
    is_in_[expert] = 1;
    ++num_in_;
  }

  void GiveUp(std::span<const uint16_t> needed) {
    size_t least = is_in_.size();
    for (size_t e = 0; e < is_in_.size(); ++e) {
      const bool is_needed = std::find(needed.begin(), needed.end(), e) != needed.end();
      if (is_in_[e] == 0 || is_needed) continue;
      if (least == is_in_.size() || worth_.Less(e, least)) least = e;
    }
    is_in_[least] = 0;
    --num_in_;
  }

  const ChoiceStream& stream_;
  int64_t slots_;
  Worth& worth_;
  std::vector<char> is_in_;
  int64_t num_in_ = 0;
};

class Frequency {
 public:
  explicit Frequency(int64_t num_experts)
      : uses_(static_cast<size_t>(num_experts)), last_(static_cast<size_t>(num_experts)) {}
  void Use(int64_t t, std::span<const uint16_t> needed) {
    for (const uint16_t expert : needed) {
      ++uses_[expert];
      last_[expert] = t;
    }
  }
  bool Less(size_t a, size_t b) const {
    return uses_[a] != uses_[b] ? uses_[a] < uses_[b] : last_[a] < last_[b];
  }

 private:
  std::vector<int64_t> uses_, last_;
};

class NextUse {
 public:
  explicit NextUse(const ChoiceStream& stream)
      : next_(stream.experts.size()),
        next_of_(static_cast<size_t>(stream.num_experts), kNever),
        top_k_(stream.top_k) {
    for (int64_t t = stream.tokens() - 1; t >= 0; --t) {
      const auto needed = stream.At(t);
      for (size_t r = 0; r < needed.size(); ++r) {
        next_[static_cast<size_t>(t * top_k_) + r] = next_of_[needed[r]];
        next_of_[needed[r]] = t;
      }
    }
  }
  void Use(int64_t t, std::span<const uint16_t> needed) {
    for (size_t r = 0; r < needed.size(); ++r)
      next_of_[needed[r]] = next_[static_cast<size_t>(t * top_k_) + r];
  }
  bool Less(size_t a, size_t b) const { return next_of_[a] > next_of_[b]; }

 private:
  static constexpr int64_t kNever = std::numeric_limits<int64_t>::max();
  std::vector<int64_t> next_;     // [n, k] when this expert is needed again
  std::vector<int64_t> next_of_;  // [E] from now
  int64_t top_k_;
};

double Rate(int64_t hits, const ChoiceStream& stream) {
  return static_cast<double>(hits) / static_cast<double>(std::ssize(stream.experts));
}

// The tokens that a store replays: the first ones of every domain.
std::vector<int64_t> ReplayedTokens(const RoutingTrace& trace, int64_t tokens) {
  const int64_t share = std::max<int64_t>(1, tokens / std::ssize(trace.domains));
  std::vector<int64_t> replayed;
  for (const auto& domain : trace.domains) {
    for (int64_t t = domain.begin; t < std::min(domain.end, domain.begin + share); ++t)
      replayed.push_back(t);
  }
  return replayed;
}

// Hits of a step; brings what it lacks.
int64_t StepOfStore(int64_t layer, std::span<const int32_t> needed, ExpertCache& cache) {
  int64_t hits = 0;
  cache.Use(layer, needed);
  for (const int32_t expert : needed) hits += cache.Find(layer, expert).has_value() ? 1 : 0;
  for (const int32_t expert : needed) {
    if (!cache.Find(layer, expert)) cache.Insert(layer, expert);
  }
  for (const int32_t expert : needed) cache.Unmark(layer, expert);
  return hits;
}

}  // namespace

std::vector<int64_t> LruHits(const ChoiceStream& stream) {
  // Experts by their last use. One at place p was a hit of every cache of more than p slots.
  std::vector<uint16_t> stack;
  std::vector<int64_t> at_place(static_cast<size_t>(stream.num_experts));
  for (int64_t t = 0; t < stream.tokens(); ++t) {
    const auto needed = stream.At(t);
    for (const uint16_t expert : needed) {
      const auto found = std::find(stack.begin(), stack.end(), expert);
      if (found != stack.end()) ++at_place[static_cast<size_t>(found - stack.begin())];
    }
    for (size_t r = needed.size(); r-- > 0;) {
      std::erase(stack, needed[r]);
      stack.insert(stack.begin(), needed[r]);
    }
  }
  std::vector<int64_t> hits(static_cast<size_t>(stream.num_experts) + 1);
  std::partial_sum(at_place.begin(), at_place.end(), hits.begin() + 1);
  return hits;
}

int64_t LfuHits(const ChoiceStream& stream, int64_t slots) {
  Frequency worth(stream.num_experts);
  return Replay(stream, slots, worth).Hits();
}

int64_t BeladyHits(const ChoiceStream& stream, int64_t slots) {
  NextUse worth(stream);
  return Replay(stream, slots, worth).Hits();
}

std::vector<int64_t> CacheSizes(int64_t num_experts, int64_t top_k) {
  constexpr int64_t kMostSizes = 16;
  std::vector<int64_t> sizes;
  const int64_t span = num_experts - top_k;
  const int64_t steps = std::min(span, kMostSizes - 1);
  for (int64_t i = 0; i <= steps; ++i)
    sizes.push_back(steps > 0 ? top_k + span * i / steps : top_k);
  return sizes;
}

CacheCurves CacheCurvesOf(const RoutingTrace& trace, int64_t l) {
  const RoutingTrace::Layer& layer = trace.layers[static_cast<size_t>(l)];
  const ChoiceStream stream{
      .experts = layer.experts, .top_k = trace.top_k, .num_experts = trace.num_experts};
  std::vector<int64_t> counts(static_cast<size_t>(trace.num_experts));
  for (const uint16_t expert : layer.experts) ++counts[expert];
  const LoadFigures load = FiguresOf(counts);
  const auto lru = LruHits(stream);
  CacheCurves curves;
  curves.slots = CacheSizes(trace.num_experts, trace.top_k);
  for (const int64_t slots : curves.slots) {
    curves.lru.push_back(Rate(lru[static_cast<size_t>(slots)], stream));
    curves.lfu.push_back(Rate(LfuHits(stream, slots), stream));
    curves.belady.push_back(Rate(BeladyHits(stream, slots), stream));
    curves.most_used.push_back(StaticHitRate(load.shares, slots));
    curves.even.push_back(static_cast<double>(slots) / static_cast<double>(trace.num_experts));
  }
  return curves;
}

std::vector<double> StoreHitRates(const RoutingTrace& trace, std::span<const int64_t> slots,
                                  int64_t tokens) {
  const std::vector<int64_t> replayed = ReplayedTokens(trace, tokens);
  std::vector<double> rates;
  std::vector<int32_t> needed;
  for (const int64_t size : slots) {
    ExpertCache cache(trace.num_layers(), trace.num_experts, size * trace.num_layers(),
                      CachePolicy::kFrequency);
    int64_t hits = 0;
    for (const int64_t t : replayed) {
      for (int64_t l = 0; l < trace.num_layers(); ++l) {
        const auto choices = trace.Choices(trace.layers[static_cast<size_t>(l)], t);
        needed.assign(choices.begin(), choices.end());
        hits += StepOfStore(l, needed, cache);
      }
    }
    rates.push_back(static_cast<double>(hits) /
                    static_cast<double>(std::ssize(replayed) * trace.num_layers() * trace.top_k));
  }
  return rates;
}

}  // namespace cadre
