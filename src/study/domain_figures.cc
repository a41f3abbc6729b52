#include <algorithm>
#include <numeric>

#include "study/agreement.h"
#include "study/bootstrap.h"
#include "study/expert_counts.h"
#include "study/load_figures.h"
#include "study/repeats.h"
#include "study/report_numbers.h"
#include "study/study.h"

namespace cadre {
namespace {

// One domain in one layer.
class DomainReport {
 public:
  DomainReport(const StudyInput& input, int64_t layer, int64_t domain)
      : input_(input),
        trace_(*input.trace),
        layer_number_(layer),
        layer_(trace_.layers[static_cast<size_t>(layer)]),
        domain_number_(domain),
        domain_(trace_.domains[static_cast<size_t>(domain)]),
        bootstrap_(domain_.num_documents, input.seed, domain) {}

  OrderedJson All() const {
    OrderedJson json = {{"domain", domain_.name}, {"load", Loads()}, {"router", Router()}};
    json["repeats"] = Repeats();
    if (input_.other != nullptr) json["agreement"] = Agreement();
    return json;
  }

 private:
  OrderedJson Loads() const {
    OrderedJson loads = {{"all", Load(-1)}, {"first", Load(0)}};
    if (trace_.top_k > 1) loads["second"] = Load(1);
    return loads;
  }

  OrderedJson Load(int64_t rank) const {
    const auto by_document = CountByDocument(trace_, layer_, rank);
    const auto num_experts = static_cast<size_t>(trace_.num_experts);
    const auto first = static_cast<size_t>(domain_.first_document);
    const auto documents = static_cast<size_t>(domain_.num_documents);
    std::vector<int64_t> counts(num_experts);
    std::vector<double> totals(documents), lows, highs;
    for (size_t d = 0; d < documents; ++d) {
      for (size_t e = 0; e < num_experts; ++e) {
        const int64_t count = by_document[(first + d) * num_experts + e];
        counts[e] += count;
        totals[d] += static_cast<double>(count);
      }
    }
    for (size_t e = 0; e < num_experts; ++e) {
      std::vector<double> of_expert(documents);
      for (size_t d = 0; d < documents; ++d)
        of_expert[d] = static_cast<double>(by_document[(first + d) * num_experts + e]);
      const auto interval = bootstrap_.OfRatio(of_expert, totals);
      if (!interval) continue;
      lows.push_back(interval->low);
      highs.push_back(interval->high);
    }
    OrderedJson json = LoadJson(counts);
    json["low"] = lows.empty() ? OrderedJson() : RoundedList(lows);
    json["high"] = highs.empty() ? OrderedJson() : RoundedList(highs);
    return json;
  }

  // The mean over the domain's tokens of a value of each.
  template <typename Value>
  OrderedJson MeanOf(const Value& value) const {
    std::vector<double> sums, counts;
    for (const auto& document : trace_.DocumentsOf(domain_)) {
      double sum = 0;
      for (int64_t t = document.begin; t < document.end; ++t) sum += value(t);
      sums.push_back(sum);
      counts.push_back(static_cast<double>(document.tokens()));
    }
    const double mean =
        std::accumulate(sums.begin(), sums.end(), 0.0) / static_cast<double>(domain_.tokens());
    return WithInterval("mean", mean, bootstrap_.OfRatio(sums, counts));
  }

  OrderedJson Router() const {
    const auto at = [](const std::vector<float>& values, int64_t t) {
      return static_cast<double>(values[static_cast<size_t>(t)]);
    };
    OrderedJson json;
    json["entropy_nats"] = MeanOf([&](int64_t t) { return at(layer_.entropy, t); });
    if (trace_.top_k < trace_.num_experts) {
      json["margin_logits"] = MeanOf([&](int64_t t) { return at(layer_.margin, t); });
      std::vector<float> margins(layer_.margin.begin() + domain_.begin,
                                 layer_.margin.begin() + domain_.end);
      std::sort(margins.begin(), margins.end());
      for (const auto& [name, quantile] : {std::pair("q05", 0.05), {"median", 0.5}}) {
        const auto place = static_cast<size_t>(quantile * static_cast<double>(margins.size() - 1));
        json["margin_logits"][name] = Rounded(static_cast<double>(margins[place]));
      }
    }
    if (trace_.top_k > 1) {
      json["gate_gap"] = MeanOf([&](int64_t t) {
        return at(layer_.gates, t * trace_.top_k) - at(layer_.gates, t * trace_.top_k + 1);
      });
    }
    return json;
  }

  // Of first choices, or of any: what was found, and what chance gives.
  OrderedJson Beside(const DomainRepeats& found, double share, const std::vector<double>& repeated,
                     double RepeatBaseline::*which) const {
    OrderedJson json =
        WithInterval("share", share, bootstrap_.OfRatio(repeated, found.pairs_by_document));
    json["even"] = Rounded(found.even.*which);
    json["marginal"] = Rounded(found.marginal.*which);
    json["shuffled_in_document"] = Rounded(found.in_document.*which);
    json["shuffled_spread"] = Rounded(found.in_document_spread.*which);
    return json;
  }

  OrderedJson Repeats() const {
    const DomainRepeats found = RepeatsOf(trace_, layer_number_, domain_number_, input_.seed);
    const RepeatCounts& next = found.by_lag.front();
    OrderedJson json = {{"pairs", next.pairs}};
    json["first"] = Beside(found, next.first(), found.first_by_document, &RepeatBaseline::first);
    json["any"] = Beside(found, next.any(), found.any_by_document, &RepeatBaseline::any);
    OrderedJson lags = OrderedJson::array();
    for (size_t i = 0; i < found.by_lag.size(); ++i) {
      if (found.by_lag[i].pairs == 0) continue;
      lags.push_back({{"lag", DomainRepeats::kLags[i]},
                      {"first", Rounded(found.by_lag[i].first())},
                      {"any", Rounded(found.by_lag[i].any())},
                      {"overlap", Rounded(found.by_lag[i].overlap(trace_.top_k))}});
    }
    json["by_lag"] = std::move(lags);
    json["run_length"] = RoundedList(found.run_length);
    json["independent_run_length"] = RoundedList(found.independent_run_length);
    return json;
  }

  OrderedJson Agreement() const {
    std::vector<AgreementSums> sums;
    for (int64_t d = 0; d < domain_.num_documents; ++d)
      sums.push_back(
          CompareRouting(trace_, *input_.other, layer_number_, domain_.first_document + d));
    OrderedJson json;
    for (const auto& [name, member] : {std::pair("same_set", &AgreementSums::same_set),
                                       {"same_first", &AgreementSums::same_first},
                                       {"shared", &AgreementSums::shared},
                                       {"jaccard", &AgreementSums::jaccard},
                                       {"gate_distance", &AgreementSums::gate_distance}}) {
      std::vector<double> values, tokens;
      for (const auto& of_document : sums) {
        values.push_back(of_document.*member);
        tokens.push_back(of_document.tokens);
      }
      const double mean = std::accumulate(values.begin(), values.end(), 0.0) /
                          static_cast<double>(domain_.tokens());
      json[name] = WithInterval("mean", mean, bootstrap_.OfRatio(values, tokens));
    }
    return json;
  }

  const StudyInput& input_;
  const RoutingTrace& trace_;
  int64_t layer_number_;
  const RoutingTrace::Layer& layer_;
  int64_t domain_number_;
  const RoutingTrace::Domain& domain_;
  DocumentBootstrap bootstrap_;
};

}  // namespace

OrderedJson LoadJson(std::span<const int64_t> counts) {
  const LoadFigures load = FiguresOf(counts);
  return {{"shares", RoundedList(load.shares)},
          {"entropy_nats", Rounded(load.entropy_nats)},
          {"normalised_entropy", Rounded(load.normalised_entropy)},
          {"max_over_mean", Rounded(load.max_over_mean)},
          {"min_over_mean", Rounded(load.min_over_mean)},
          {"cv_squared", Rounded(load.cv_squared)}};
}

OrderedJson DomainFigures(const StudyInput& input, int64_t layer, int64_t domain) {
  return DomainReport(input, layer, domain).All();
}

}  // namespace cadre
