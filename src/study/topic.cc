#include "study/topic.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include "study/expert_counts.h"
#include "study/load_figures.h"
#include "study/shuffle.h"

namespace cadre {
namespace {

// The tables of one layer, and what shuffling their labels makes of them.
class TopicTables {
 public:
  TopicTables(const RoutingTrace& trace, int64_t layer, uint64_t seed)
      : trace_(trace),
        layer_(trace.layers[static_cast<size_t>(layer)]),
        layer_number_(layer),
        seed_(seed),
        num_domains_(std::ssize(trace.domains)),
        by_document_(CountByDocument(trace, layer_)),
        labels_(DomainLabels(trace)),
        document_of_(DocumentOfToken(trace)) {}

  void MeasureDomain(TopicFigures& figures) const {
    figures.domain = OfDomains(labels_);
    std::vector<double> nulls;
    Random draws = DrawsFor(seed_, DrawFor::kDomainLabels, layer_number_);
    std::vector<int64_t> labels = labels_;
    for (int64_t i = 0; i < TopicFigures::kShuffles; ++i) {
      Shuffle(draws, labels.data(), std::ssize(labels));
      nulls.push_back(OfDomains(labels).plugin_bits);
    }
    figures.domain_null = LevelOf(std::move(nulls));
  }

  void MeasureToken(TopicFigures& figures) const {
    std::vector<int32_t> ids = trace_.ids;
    figures.token = OfTokens(ids);
    std::vector<double> nulls;
    Random draws = DrawsFor(seed_, DrawFor::kTokenLabels, layer_number_);
    // A null of so many cells hardly varies: a few draws do.
    for (int64_t i = 0; i < TopicFigures::kShuffles / 10; ++i) {
      Shuffle(draws, ids.data(), std::ssize(ids));
      nulls.push_back(OfTokens(ids).plugin_bits);
    }
    figures.token_null = LevelOf(std::move(nulls));
  }

  void MeasureDomainGivenToken(TopicFigures& figures) const {
    const std::vector<int32_t> table_of = ComparedTokens(figures);
    const int64_t tables = figures.tokens_compared;
    if (tables == 0) return;
    figures.domain_given_token = OfDomainsByToken(labels_, table_of, tables);
    std::vector<double> nulls;
    Random draws = DrawsFor(seed_, DrawFor::kDomainLabels, layer_number_, 1);
    std::vector<int64_t> labels = labels_;
    for (int64_t i = 0; i < TopicFigures::kShuffles; ++i) {
      Shuffle(draws, labels.data(), std::ssize(labels));
      nulls.push_back(OfDomainsByToken(labels, table_of, tables).plugin_bits);
    }
    figures.domain_given_token_null = LevelOf(std::move(nulls));
  }

  void MeasureDivergence(TopicFigures& figures) const {
    const auto size = static_cast<size_t>(num_domains_ * num_domains_);
    figures.divergence.assign(size, 0);
    figures.divergence_null.assign(size, 0);
    for (int64_t a = 0; a < num_domains_; ++a) {
      for (int64_t b = a + 1; b < num_domains_; ++b) {
        const double null = NullDivergence(a, b), found = Divergence(labels_, a, b);
        for (const int64_t place : {a * num_domains_ + b, b * num_domains_ + a}) {
          figures.divergence[static_cast<size_t>(place)] = found;
          figures.divergence_null[static_cast<size_t>(place)] = null;
        }
      }
    }
  }

  double ExpertBits() const {
    const std::vector<int64_t> one(labels_.size(), 0);
    return FiguresOf(SumByDomain(by_document_, one, 1, trace_.num_experts)).entropy_nats /
           std::numbers::ln2;
  }

 private:
  Information OfDomains(const std::vector<int64_t>& labels) const {
    return MutualInformation(SumByDomain(by_document_, labels, num_domains_, trace_.num_experts),
                             trace_.num_experts);
  }

  Information OfTokens(const std::vector<int32_t>& ids) const {
    std::vector<int64_t> counts(static_cast<size_t>(trace_.vocab_size * trace_.num_experts));
    for (size_t t = 0; t < ids.size(); ++t) {
      int64_t* row = counts.data() + ids[t] * trace_.num_experts;
      for (const uint16_t expert : trace_.Choices(layer_, static_cast<int64_t>(t))) ++row[expert];
    }
    return MutualInformation(counts, trace_.num_experts);
  }

  // [vocab] the table of a token id; -1: it is too rare outside one domain.
  std::vector<int32_t> ComparedTokens(TopicFigures& figures) const {
    const auto vocab = static_cast<size_t>(trace_.vocab_size);
    const auto domains = static_cast<size_t>(num_domains_);
    std::vector<int64_t> occurrences(vocab * domains);
    for (size_t t = 0; t < trace_.ids.size(); ++t) {
      const auto document = static_cast<size_t>(document_of_[t]);
      ++occurrences[static_cast<size_t>(trace_.ids[t]) * domains +
                    static_cast<size_t>(labels_[document])];
    }
    std::vector<int32_t> table_of(vocab, -1);
    int64_t tokens = 0;
    for (size_t id = 0; id < vocab; ++id) {
      const int64_t* row = occurrences.data() + id * domains;
      const auto often = std::count_if(
          row, row + domains, [](int64_t n) { return n >= TopicFigures::kLeastOccurrences; });
      if (often < 2) continue;
      table_of[id] = static_cast<int32_t>(figures.tokens_compared++);
      tokens += std::accumulate(row, row + domains, int64_t{0});
    }
    figures.share_compared = static_cast<double>(tokens) / static_cast<double>(trace_.num_tokens());
    return table_of;
  }

  Information OfDomainsByToken(const std::vector<int64_t>& labels,
                               const std::vector<int32_t>& table_of, int64_t tables) const {
    std::vector<int64_t> counts(static_cast<size_t>(tables * num_domains_ * trace_.num_experts));
    for (size_t t = 0; t < trace_.ids.size(); ++t) {
      const int64_t table = table_of[static_cast<size_t>(trace_.ids[t])];
      if (table < 0) continue;
      const int64_t domain = labels[static_cast<size_t>(document_of_[t])];
      int64_t* row = counts.data() + (table * num_domains_ + domain) * trace_.num_experts;
      for (const uint16_t expert : trace_.Choices(layer_, static_cast<int64_t>(t))) ++row[expert];
    }
    return ConditionalInformation(counts, num_domains_, trace_.num_experts);
  }

  double Divergence(const std::vector<int64_t>& labels, int64_t a, int64_t b) const {
    const auto counts = SumByDomain(by_document_, labels, num_domains_, trace_.num_experts);
    const auto row = [&](int64_t domain) {
      return std::span(counts).subspan(static_cast<size_t>(domain * trace_.num_experts),
                                       static_cast<size_t>(trace_.num_experts));
    };
    const auto total = [](std::span<const int64_t> counts_of) {
      return std::accumulate(counts_of.begin(), counts_of.end(), int64_t{0});
    };
    if (total(row(a)) == 0 || total(row(b)) == 0) return 0;
    return JensenShannonBits(row(a), row(b)) -
           JensenShannonBias(trace_.num_experts, total(row(a)), total(row(b)));
  }

  // The documents of the two, divided at random into as many and as many.
  double NullDivergence(int64_t a, int64_t b) const {
    const auto& of_a = trace_.domains[static_cast<size_t>(a)];
    const auto& of_b = trace_.domains[static_cast<size_t>(b)];
    std::vector<int64_t> places;
    for (const auto* domain : {&of_a, &of_b}) {
      for (int64_t d = 0; d < domain->num_documents; ++d)
        places.push_back(domain->first_document + d);
    }
    Random draws = DrawsFor(seed_, DrawFor::kDomainPairs, layer_number_, a * num_domains_ + b);
    std::vector<double> nulls;
    std::vector<int64_t> labels = labels_;
    for (int64_t i = 0; i < TopicFigures::kShuffles; ++i) {
      Shuffle(draws, places.data(), std::ssize(places));
      for (size_t p = 0; p < places.size(); ++p) {
        labels[static_cast<size_t>(places[p])] =
            static_cast<int64_t>(p) < of_a.num_documents ? a : b;
      }
      nulls.push_back(Divergence(labels, a, b));
    }
    return LevelOf(std::move(nulls)).high;
  }

  const RoutingTrace& trace_;
  const RoutingTrace::Layer& layer_;
  int64_t layer_number_;
  uint64_t seed_;
  int64_t num_domains_;
  std::vector<int64_t> by_document_;  // [documents, E]
  std::vector<int64_t> labels_;       // [documents]
  std::vector<int32_t> document_of_;  // [N]
};

}  // namespace

TopicFigures TopicOf(const RoutingTrace& trace, int64_t layer, uint64_t seed) {
  const TopicTables tables(trace, layer, seed);
  TopicFigures figures;
  figures.expert_bits = tables.ExpertBits();
  tables.MeasureDomain(figures);
  tables.MeasureToken(figures);
  tables.MeasureDomainGivenToken(figures);
  tables.MeasureDivergence(figures);
  return figures;
}

}  // namespace cadre
