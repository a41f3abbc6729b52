// A study's figures as one JSON object, out of a trace: what report.json holds and the page shows.
// The same trace and seed give the same bits, whatever the number of threads.
#pragma once

#include <cstdint>
#include <span>

#include "base/json_fwd.h"
#include "base/thread_pool.h"
#include "study/trace.h"
#include "text/tokenizer.h"

namespace cadre {

struct StudyInput {
  const RoutingTrace* trace = nullptr;
  const RoutingTrace* other = nullptr;  // the same texts through another model; null: none
  const Tokenizer* tokenizer = nullptr;
  uint64_t seed = 0;
};

// domains, layers, cache, samples.
OrderedJson StudyFigures(const StudyInput& input, ThreadPool& threads);

// Parts of it.
// Of one layer, all domains.
OrderedJson LayerFigures(const StudyInput& input, int64_t layer);
// Shares of the counts and how even they are.
OrderedJson LoadJson(std::span<const int64_t> counts);
// What one domain does in one layer: load, router, repeats.
OrderedJson DomainFigures(const StudyInput& input, int64_t layer, int64_t domain);
// Typical tokens and kinds of tokens of a layer's experts.
OrderedJson ExpertTexts(const StudyInput& input, int64_t layer);
// A piece of text of each domain with the choices of every layer, drawn by the seed.
OrderedJson SampleTexts(const StudyInput& input);

}  // namespace cadre
