// Counts of a layer's choices that several statistics start from.
#pragma once

#include <cstdint>
#include <vector>

#include "study/trace.h"

namespace cadre {

// [documents, E] choices of all ranks, or of one (from 0).
std::vector<int64_t> CountByDocument(const RoutingTrace& trace, const RoutingTrace::Layer& layer,
                                     int64_t rank = -1);

// [domains, E], from counts by document whose domain is labels[document].
std::vector<int64_t> SumByDomain(const std::vector<int64_t>& by_document,
                                 const std::vector<int64_t>& labels, int64_t num_domains,
                                 int64_t num_experts);

// [documents]
std::vector<int64_t> DomainLabels(const RoutingTrace& trace);

// The document of every token.
std::vector<int32_t> DocumentOfToken(const RoutingTrace& trace);

}  // namespace cadre
