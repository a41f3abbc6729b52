#include "study/expert_counts.h"

namespace cadre {

std::vector<int64_t> CountByDocument(const RoutingTrace& trace, const RoutingTrace::Layer& layer,
                                     int64_t rank) {
  const auto num_experts = static_cast<size_t>(trace.num_experts);
  std::vector<int64_t> counts(trace.documents.size() * num_experts);
  for (size_t d = 0; d < trace.documents.size(); ++d) {
    int64_t* row = counts.data() + d * num_experts;
    for (int64_t t = trace.documents[d].begin; t < trace.documents[d].end; ++t) {
      const auto choices = trace.Choices(layer, t);
      if (rank >= 0) {
        ++row[choices[static_cast<size_t>(rank)]];
      } else {
        for (const uint16_t expert : choices) ++row[expert];
      }
    }
  }
  return counts;
}

std::vector<int64_t> SumByDomain(const std::vector<int64_t>& by_document,
                                 const std::vector<int64_t>& labels, int64_t num_domains,
                                 int64_t num_experts) {
  std::vector<int64_t> sums(static_cast<size_t>(num_domains * num_experts));
  for (size_t d = 0; d < labels.size(); ++d) {
    for (int64_t e = 0; e < num_experts; ++e) {
      sums[static_cast<size_t>(labels[d] * num_experts + e)] +=
          by_document[d * static_cast<size_t>(num_experts) + static_cast<size_t>(e)];
    }
  }
  return sums;
}

std::vector<int64_t> DomainLabels(const RoutingTrace& trace) {
  std::vector<int64_t> labels;
  for (const auto& document : trace.documents) labels.push_back(document.domain);
  return labels;
}

std::vector<int32_t> DocumentOfToken(const RoutingTrace& trace) {
  std::vector<int32_t> documents(static_cast<size_t>(trace.num_tokens()));
  for (size_t d = 0; d < trace.documents.size(); ++d) {
    for (int64_t t = trace.documents[d].begin; t < trace.documents[d].end; ++t)
      documents[static_cast<size_t>(t)] = static_cast<int32_t>(d);
  }
  return documents;
}

}  // namespace cadre
