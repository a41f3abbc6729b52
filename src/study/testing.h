// Traces made by hand or at random, for the tests of this floor.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "base/random.h"
#include "study/trace.h"

namespace cadre::study_testing {

// The choices of one layer for a document of one window: [n][k].
using Choices = std::vector<std::vector<uint16_t>>;

// Adds a document to the last domain; ids count from 0, gates are 1/k.
inline void AddDocument(RoutingTrace& trace, const Choices& choices) {
  RoutingTrace::Layer& layer = trace.layers.front();
  RoutingTrace::Document document{.domain = std::ssize(trace.domains) - 1,
                                  .first_window = std::ssize(trace.windows),
                                  .num_windows = 1,
                                  .begin = trace.num_tokens()};
  for (const auto& row : choices) {
    trace.ids.push_back(static_cast<int32_t>(trace.num_tokens() % trace.vocab_size));
    layer.experts.insert(layer.experts.end(), row.begin(), row.end());
    layer.gates.insert(layer.gates.end(), row.size(), 1.0F / static_cast<float>(row.size()));
    layer.entropy.push_back(1);
    layer.margin.push_back(0.5);
  }
  document.end = trace.num_tokens();
  trace.windows.push_back({document.begin, document.end});
  trace.documents.push_back(document);
  RoutingTrace::Domain& domain = trace.domains.back();
  domain.end = document.end;
  ++domain.num_documents;
  layer.foreseen.assign(
      RoutingTrace::kDistances.size() * trace.documents.size() * RoutingTrace::kMostFetched, 0);
}

inline void AddDomain(RoutingTrace& trace, const std::string& name) {
  trace.domains.push_back({.name = name,
                           .first_document = std::ssize(trace.documents),
                           .begin = trace.num_tokens(),
                           .end = trace.num_tokens()});
}

// One layer, a domain for each list of documents.
inline RoutingTrace MakeTrace(int64_t num_experts, int64_t top_k,
                              const std::vector<std::vector<Choices>>& domains,
                              int64_t vocab_size = 1000) {
  RoutingTrace trace;
  trace.num_experts = num_experts;
  trace.top_k = top_k;
  trace.vocab_size = vocab_size;
  trace.layers.resize(1);
  for (size_t d = 0; d < domains.size(); ++d) {
    AddDomain(trace, std::string(1, static_cast<char>('a' + d)));
    for (const auto& document : domains[d]) AddDocument(trace, document);
  }
  return trace;
}

// k distinct experts, each as likely as the next.
inline std::vector<uint16_t> EvenChoice(Random& draws, int64_t num_experts, int64_t top_k) {
  std::vector<uint16_t> row;
  while (std::ssize(row) < top_k) {
    const auto expert = static_cast<uint16_t>(draws.NextBelow(static_cast<uint64_t>(num_experts)));
    if (std::find(row.begin(), row.end(), expert) == row.end()) row.push_back(expert);
  }
  return row;
}

// With chance q a token's choice is that of the one before, else an even one.
inline Choices StickyChoices(int64_t tokens, int64_t num_experts, int64_t top_k, double q,
                             uint64_t seed) {
  Random draws(seed);
  Choices choices;
  for (int64_t t = 0; t < tokens; ++t) {
    const bool again = t > 0 && draws.NextDouble() < q;
    choices.push_back(again ? choices.back() : EvenChoice(draws, num_experts, top_k));
  }
  return choices;
}

}  // namespace cadre::study_testing
