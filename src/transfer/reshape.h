// Weights of one model as the beginning of another with other experts: a dense student out of a
// sparse teacher, a sparse model out of a dense one. What both have alike is copied bit by bit.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "model/parameters.h"
#include "model/weights.h"

namespace cadre {

// The same model with one expert of `hidden_dim`, which takes every token.
ModelConfig DenseConfig(const ModelConfig& sparse, int64_t hidden_dim);

// The same model with experts as large as its one FFN. `dense` is dense, `router` is not.
ModelConfig SparseConfig(const ModelConfig& dense, const RouterConfig& router);

// Embedding, head, attention and norms of `from` (any stored type) into an arena of `layout`, whose
// model differs in its experts alone. Routers and experts there stay as they are.
void CopyAllButExperts(const Model& from, const ParameterLayout& layout, std::span<float> arena);

// The FFN of each layer: the sum of the layer's experts, each times its share ([layers * E], of
// each layer summing to one). `layout` is dense and as wide inside as an expert.
void MergeExperts(const Model& from, std::span<const double> shares, const ParameterLayout& layout,
                  std::span<float> arena, ThreadPool& threads);

// What makes the copies of an FFN differ from one another.
struct ExpertVariation {
  double noise = 0;        // deviation of what is added, as a share of the matrix's own deviation
  double noise_share = 1;  // of the entries it is added to
  // Share of an expert's hidden units that are drawn anew, each matrix's entries of them with their
  // own mean and deviation (Drop-Upcycling, arXiv 2502.19261).
  double redrawn = 0;
  double router_sigma = 0.02;  // deviation of the router's weights
};

// Copies of the dense model's FFN as experts and a router drawn at random, into an arena of the
// sparse `layout`. Where gates are not renormalised, w2 is multiplied by experts / chosen, since
// even gates sum to that share of one (arXiv 2410.07524). Draws are a function of `seed`.
void SpreadFfn(const Model& dense, const ExpertVariation& variation, uint64_t seed,
               const ParameterLayout& layout, std::span<float> arena, ThreadPool& threads);

}  // namespace cadre
