#include "study/foresight.h"

#include <algorithm>
#include <functional>
#include <numeric>

#include "study/expert_counts.h"

namespace cadre {
namespace {

constexpr auto kFetched = static_cast<size_t>(RoutingTrace::kMostFetched);

// Tables of counts by a key of each token, one made of each half of the documents; a token is
// looked up in the one that it is not in.
class Lookup {
 public:
  using Key = std::function<int64_t(int64_t token)>;

  Lookup(const RoutingTrace& trace, const RoutingTrace::Layer& layer, int64_t num_keys, Key key)
      : trace_(trace),
        layer_(layer),
        key_(std::move(key)),
        num_keys_(num_keys),
        halves_(Halves(trace)),
        counts_(static_cast<size_t>(2 * num_keys * trace.num_experts)),
        overall_(static_cast<size_t>(2 * trace.num_experts)) {
    for (int64_t t = 0; t < trace.num_tokens(); ++t) {
      const int64_t half = halves_[static_cast<size_t>(t)];
      for (const uint16_t expert : trace.Choices(layer, t)) {
        ++counts_[Row(half, key_(t)) + expert];
        ++overall_[static_cast<size_t>(half * trace.num_experts) + expert];
      }
    }
  }

  Recall Measure() const {
    const std::vector<uint16_t> ranked = RankAll();
    std::array<int64_t, kFetched> hits = {};
    for (int64_t t = 0; t < trace_.num_tokens(); ++t) {
      const int64_t other = 1 - halves_[static_cast<size_t>(t)];
      const uint16_t* best =
          ranked.data() + static_cast<size_t>(other * num_keys_ + key_(t)) * kFetched;
      for (const uint16_t expert : trace_.Choices(layer_, t)) {
        const auto rank = std::find(best, best + kFetched, expert) - best;
        for (auto f = static_cast<size_t>(rank); f < kFetched; ++f) ++hits[f];
      }
    }
    Recall recall;
    const auto choices = static_cast<double>(trace_.num_tokens() * trace_.top_k);
    for (size_t f = 0; f < kFetched; ++f) recall[f] = static_cast<double>(hits[f]) / choices;
    return recall;
  }

 private:
  static std::vector<char> Halves(const RoutingTrace& trace) {
    std::vector<char> halves;
    for (const int32_t document : DocumentOfToken(trace))
      halves.push_back(static_cast<char>(document % 2));
    return halves;
  }

  size_t Row(int64_t half, int64_t key) const {
    return static_cast<size_t>((half * num_keys_ + key) * trace_.num_experts);
  }

  // [2, keys, kFetched]. Padded with a number that is no expert.
  std::vector<uint16_t> RankAll() const {
    constexpr uint16_t kNone = 0xFFFF;
    std::vector<uint16_t> ranked(static_cast<size_t>(2 * num_keys_) * kFetched, kNone);
    const auto experts = static_cast<size_t>(trace_.num_experts);
    for (int64_t half = 0; half < 2; ++half) {
      const auto all = std::span(overall_).subspan(static_cast<size_t>(half) * experts, experts);
      for (int64_t key = 0; key < num_keys_; ++key) {
        const auto order = RankByCount(std::span(counts_).subspan(Row(half, key), experts), all);
        std::copy_n(order.begin(), std::min(order.size(), kFetched),
                    ranked.begin() + static_cast<std::ptrdiff_t>(
                                         static_cast<size_t>(half * num_keys_ + key) * kFetched));
      }
    }
    return ranked;
  }

  const RoutingTrace& trace_;
  const RoutingTrace::Layer& layer_;
  Key key_;
  int64_t num_keys_;
  std::vector<char> halves_;      // [N] 0 or 1
  std::vector<int64_t> counts_;   // [2, keys, E]
  std::vector<int64_t> overall_;  // [2, E]
};

void MeasureRouter(const RoutingTrace& trace, const RoutingTrace::Layer& layer,
                   LayerForesight& found) {
  const auto choices = static_cast<double>(trace.num_tokens() * trace.top_k);
  const auto shown = static_cast<size_t>(std::min(trace.top_k, RoutingTrace::kMostFetched)) - 1;
  for (size_t document = 0; document < trace.documents.size(); ++document) {
    for (size_t d = 0; d < found.by_router.size(); ++d) {
      const auto hits = trace.Foreseen(layer, d, static_cast<int64_t>(document));
      for (size_t f = 0; f < kFetched; ++f)
        found.by_router[d][f] += static_cast<double>(hits[f]) / choices;
      if (d == 0) found.hits_by_document.push_back(static_cast<double>(hits[shown]));
    }
    found.choices_by_document.push_back(
        static_cast<double>(trace.documents[document].tokens() * trace.top_k));
  }
}

}  // namespace

std::vector<uint16_t> RankByCount(std::span<const int64_t> counts,
                                  std::span<const int64_t> of_all) {
  const bool tells = std::accumulate(counts.begin(), counts.end(), int64_t{0}) >= kLeastChoices;
  std::vector<uint16_t> order(of_all.size());
  std::iota(order.begin(), order.end(), uint16_t{0});
  std::stable_sort(order.begin(), order.end(), [&](uint16_t a, uint16_t b) {
    if (tells && counts[a] != counts[b]) return counts[a] > counts[b];
    return of_all[a] > of_all[b];
  });
  return order;
}

LayerForesight ForesightOf(const RoutingTrace& trace, int64_t l) {
  const RoutingTrace::Layer& layer = trace.layers[static_cast<size_t>(l)];
  LayerForesight found;
  MeasureRouter(trace, layer, found);
  found.by_load = Lookup(trace, layer, 1, [](int64_t) { return 0; }).Measure();
  found.by_token = Lookup(trace, layer, trace.vocab_size, [&](int64_t t) {
                     return trace.ids[static_cast<size_t>(t)];
                   }).Measure();
  if (l == 0) return found;
  const RoutingTrace::Layer& before = trace.layers[static_cast<size_t>(l) - 1];
  const auto last = [&](int64_t t) -> int64_t { return trace.Choices(before, t).front(); };
  found.by_last_choice = Lookup(trace, layer, trace.num_experts, last).Measure();
  std::vector<int64_t> counts(static_cast<size_t>(trace.num_experts * trace.num_experts));
  for (int64_t t = 0; t < trace.num_tokens(); ++t) {
    ++counts[static_cast<size_t>(last(t) * trace.num_experts + trace.Choices(layer, t).front())];
  }
  found.last_choice = MutualInformation(counts, trace.num_experts);
  return found;
}

}  // namespace cadre
