#include "study/typical_tokens.h"

#include <algorithm>
#include <cmath>

namespace cadre {
namespace {

// How much a token adds to what tells the expert's tokens from all.
double WeightOf(const TypicalToken& token) {
  return static_cast<double>(token.count) * std::log(token.lift);
}

// The middle one of the occurrences that chose the expert: neither first lines nor last.
void FindExamples(const RoutingTrace& trace, const RoutingTrace::Layer& layer, int64_t expert,
                  std::vector<TypicalToken>& tokens) {
  std::vector<int64_t> seen(tokens.size());
  for (int64_t t = 0; t < trace.num_tokens(); ++t) {
    for (size_t i = 0; i < tokens.size(); ++i) {
      if (trace.ids[static_cast<size_t>(t)] != tokens[i].id) continue;
      const auto choices = trace.Choices(layer, t);
      if (std::find(choices.begin(), choices.end(), expert) == choices.end()) continue;
      if (seen[i]++ == tokens[i].count / 2) tokens[i].example = t;
    }
  }
}

}  // namespace

std::vector<std::vector<TypicalToken>> TypicalTokensOf(const RoutingTrace& trace,
                                                       const RoutingTrace::Layer& layer,
                                                       int64_t most, int64_t least) {
  const auto num_experts = static_cast<size_t>(trace.num_experts);
  std::vector<int64_t> counts(static_cast<size_t>(trace.vocab_size) * num_experts);
  std::vector<int64_t> occurrences(static_cast<size_t>(trace.vocab_size)), loads(num_experts);
  for (int64_t t = 0; t < trace.num_tokens(); ++t) {
    const auto id = static_cast<size_t>(trace.ids[static_cast<size_t>(t)]);
    ++occurrences[id];
    for (const uint16_t expert : trace.Choices(layer, t)) {
      ++counts[id * num_experts + expert];
      ++loads[expert];
    }
  }
  std::vector<std::vector<TypicalToken>> typical(num_experts);
  for (size_t e = 0; e < num_experts; ++e) {
    for (size_t id = 0; id < occurrences.size(); ++id) {
      const int64_t count = counts[id * num_experts + e];
      if (occurrences[id] < least || count == 0) continue;
      const double lift = static_cast<double>(count) / static_cast<double>(loads[e]) *
                          static_cast<double>(trace.num_tokens()) /
                          static_cast<double>(occurrences[id]);
      if (lift <= 1) continue;
      typical[e].push_back({.id = static_cast<int32_t>(id),
                            .count = count,
                            .occurrences = occurrences[id],
                            .lift = lift});
    }
    std::stable_sort(typical[e].begin(), typical[e].end(),
                     [](const auto& a, const auto& b) { return WeightOf(a) > WeightOf(b); });
    typical[e].resize(std::min(typical[e].size(), static_cast<size_t>(most)));
    FindExamples(trace, layer, static_cast<int64_t>(e), typical[e]);
  }
  return typical;
}

std::vector<int64_t> GroupCounts(const RoutingTrace& trace, const RoutingTrace::Layer& layer,
                                 const std::vector<int32_t>& group_of, int64_t num_groups) {
  std::vector<int64_t> counts(static_cast<size_t>(num_groups * trace.num_experts));
  for (int64_t t = 0; t < trace.num_tokens(); ++t) {
    const int64_t group = group_of[static_cast<size_t>(trace.ids[static_cast<size_t>(t)])];
    for (const uint16_t expert : trace.Choices(layer, t))
      ++counts[static_cast<size_t>(group * trace.num_experts + expert)];
  }
  return counts;
}

}  // namespace cadre
