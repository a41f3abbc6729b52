#include "study/study.h"

#include <exception>
#include <mutex>

#include "study/agreement.h"
#include "study/cache_curves.h"
#include "study/coactivation.h"
#include "study/expert_counts.h"
#include "study/foresight.h"
#include "study/report_numbers.h"
#include "study/token_groups.h"
#include "study/topic.h"

namespace cadre {
namespace {

// A replay of the store looks at every place for every miss: so many tokens are enough.
constexpr int64_t kReplayedTokens = 12'000;

OrderedJson PooledLoad(const RoutingTrace& trace, const RoutingTrace::Layer& layer, int64_t rank) {
  const std::vector<int64_t> one(trace.documents.size(), 0);
  return LoadJson(SumByDomain(CountByDocument(trace, layer, rank), one, 1, trace.num_experts));
}

OrderedJson TopicJson(const RoutingTrace& trace, const TopicFigures& topic) {
  const auto domains = std::ssize(trace.domains);
  OrderedJson json = {{"expert_bits", Rounded(topic.expert_bits)},
                      {"domain", InformationJson(topic.domain, topic.domain_null)},
                      {"token", InformationJson(topic.token, topic.token_null)},
                      {"domain_given_token",
                       InformationJson(topic.domain_given_token, topic.domain_given_token_null)}};
  json["domain_given_token"]["token_ids"] = topic.tokens_compared;
  json["domain_given_token"]["share_of_tokens"] = Rounded(topic.share_compared);
  json["divergence_bits"] = RoundedTable(topic.divergence, domains);
  json["divergence_null_high_bits"] = RoundedTable(topic.divergence_null, domains);
  return json;
}

OrderedJson CoactivationJson(const RoutingTrace& trace, const Coactivation& found) {
  OrderedJson pairs = OrderedJson::array();
  for (size_t e = 0; e < static_cast<size_t>(trace.num_experts); ++e) {
    const auto begin = found.pairs.begin() + static_cast<std::ptrdiff_t>(e) * trace.num_experts;
    pairs.push_back(std::vector<int64_t>(begin, begin + trace.num_experts));
  }
  return {{"pairs", pairs}, {"lift", RoundedTable(found.lift, trace.num_experts)}};
}

OrderedJson CacheJson(const CacheCurves& curves) {
  return {{"slots", curves.slots},
          {"lru", RoundedList(curves.lru)},
          {"lfu", RoundedList(curves.lfu)},
          {"most_used", RoundedList(curves.most_used)},
          {"belady", RoundedList(curves.belady)},
          {"even", RoundedList(curves.even)}};
}

OrderedJson RouterForesight(const StudyInput& input, const LayerForesight& found) {
  const RoutingTrace& trace = *input.trace;
  OrderedJson domains = OrderedJson::array();
  for (size_t d = 0; d < trace.domains.size(); ++d) {
    const auto first = static_cast<size_t>(trace.domains[d].first_document);
    const auto count = static_cast<size_t>(trace.domains[d].num_documents);
    const auto hits = std::span(found.hits_by_document).subspan(first, count);
    const auto choices = std::span(found.choices_by_document).subspan(first, count);
    double sum = 0, total = 0;
    for (size_t i = 0; i < count; ++i) {
      sum += hits[i];
      total += choices[i];
    }
    const DocumentBootstrap bootstrap(static_cast<int64_t>(count), input.seed,
                                      static_cast<int64_t>(d));
    OrderedJson json = WithInterval("recall", sum / total, bootstrap.OfRatio(hits, choices));
    json["domain"] = trace.domains[d].name;
    domains.push_back(std::move(json));
  }
  return domains;
}

OrderedJson ForesightJson(const StudyInput& input, int64_t layer) {
  const LayerForesight found = ForesightOf(*input.trace, layer);
  OrderedJson json = {{"fetched", OrderedJson::array()}};
  for (int64_t f = 1; f <= RoutingTrace::kMostFetched; ++f) json["fetched"].push_back(f);
  json["by_router"] = OrderedJson::array();
  for (size_t d = 0; d < found.by_router.size(); ++d) {
    const int64_t distance = RoutingTrace::kDistances[d];
    if (layer < distance) continue;
    json["by_router"].push_back(
        {{"layers_before", distance}, {"recall", RoundedList(found.by_router[d])}});
  }
  json["by_load"] = RoundedList(found.by_load);
  json["by_token"] = RoundedList(found.by_token);
  if (layer == 0) return json;
  json["by_last_choice"] = RoundedList(found.by_last_choice);
  json["last_choice"] = InformationJson(found.last_choice);
  json["next_layer_by_domain"] = RouterForesight(input, found);
  return json;
}

OrderedJson DomainsJson(const RoutingTrace& trace) {
  OrderedJson list = OrderedJson::array();
  for (const auto& domain : trace.domains) {
    int64_t windows = 0;
    for (const auto& document : trace.DocumentsOf(domain)) windows += document.num_windows;
    list.push_back({{"name", domain.name},
                    {"documents", domain.num_documents},
                    {"windows", windows},
                    {"tokens", domain.tokens()}});
  }
  return list;
}

OrderedJson StoreJson(const RoutingTrace& trace) {
  const auto slots = CacheSizes(trace.num_experts, trace.top_k);
  return {{"slots_per_layer", slots},
          {"tokens", std::min(kReplayedTokens, trace.num_tokens())},
          {"hit_rate", RoundedList(StoreHitRates(trace, slots, kReplayedTokens))}};
}

OrderedJson GroupRules() {
  OrderedJson rules = OrderedJson::array();
  for (const auto& [name, rule] : TokenGroups()) rules.push_back({{"group", name}, {"rule", rule}});
  return rules;
}

}  // namespace

OrderedJson LayerFigures(const StudyInput& input, int64_t layer_number) {
  const RoutingTrace& trace = *input.trace;
  const auto& layer = trace.layers[static_cast<size_t>(layer_number)];
  OrderedJson json = {{"layer", layer_number}, {"bos_experts", layer.bos_experts}};
  json["load"] = {{"all", PooledLoad(trace, layer, -1)}, {"first", PooledLoad(trace, layer, 0)}};
  if (trace.top_k > 1) json["load"]["second"] = PooledLoad(trace, layer, 1);
  json["domains"] = OrderedJson::array();
  for (int64_t d = 0; d < std::ssize(trace.domains); ++d)
    json["domains"].push_back(DomainFigures(input, layer_number, d));
  json["topic"] = TopicJson(trace, TopicOf(trace, layer_number, input.seed));
  if (trace.top_k > 1) json["coactivation"] = CoactivationJson(trace, CoactivationOf(trace, layer));
  json["cache"] = CacheJson(CacheCurvesOf(trace, layer_number));
  json["foresight"] = ForesightJson(input, layer_number);
  json["texts"] = ExpertTexts(input, layer_number);
  if (input.other != nullptr) {
    const MarginAgreement by_margin = AgreementByMargin(trace, *input.other, layer_number);
    json["agreement_by_margin"] = {{"margin_logits", RoundedList(by_margin.margin)},
                                   {"same_set", RoundedList(by_margin.same_set)}};
  }
  return json;
}

OrderedJson StudyFigures(const StudyInput& input, ThreadPool& threads) {
  const RoutingTrace& trace = *input.trace;
  std::vector<OrderedJson> layers(trace.layers.size());
  std::exception_ptr failure;  // a task must not throw
  std::mutex mutex;
  threads.ParallelFor(trace.num_layers(), [&](int64_t layer, int) {
    try {
      layers[static_cast<size_t>(layer)] = LayerFigures(input, layer);
    } catch (...) {
      const std::lock_guard lock(mutex);
      failure = std::current_exception();
    }
  });
  if (failure) std::rethrow_exception(failure);
  OrderedJson json = {{"domains", DomainsJson(trace)},
                      {"experts", trace.num_experts},
                      {"experts_per_token", trace.top_k},
                      {"tokens", trace.num_tokens()},
                      {"token_groups", GroupRules()}};
  json["layers"] = std::move(layers);
  json["store_cache"] = StoreJson(trace);
  json["samples"] = SampleTexts(input);
  return json;
}

}  // namespace cadre
