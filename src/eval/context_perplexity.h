// How much a model makes of a longer context: the same tokens predicted with more and more of what
// comes before them.
#pragma once

#include "eval/perplexity.h"

namespace cadre {

struct ContextPerplexity {
  int64_t context = 0;  // ids given and predicted together
  int64_t tokens = 0;   // predicted; the same ones for every context
  MeanAndError loss;    // -ln p of the token that came
  double perplexity = 0;
  double perplexity_error = 0;
};

// Cuts `ids` into windows of the longest of `contexts` (ascending; the rest of the text is left
// out). The last tokens of each, half as many as the shortest context has, are predicted once for
// each context, which begins with BOS and then holds as many of the ids before and among them as
// fit. Throws Error where the text is shorter than the longest context, or a context has fewer than
// four ids. options.context is not used. Cancelled: the result so far.
std::vector<ContextPerplexity> PerplexityByContext(WindowScorer& model,
                                                   std::span<const int32_t> ids,
                                                   const std::vector<int64_t>& contexts,
                                                   const PerplexityOptions& options);

}  // namespace cadre
