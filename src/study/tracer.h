// Runs a study's texts through a model and writes down what its routers chose, and what later
// routers would have said of the present hidden state (as model/guess.h asks them). Computes what
// every other command computes: the trace changes nothing.
#pragma once

#include <atomic>
#include <functional>

#include "engine/sequence.h"
#include "study/trace.h"

namespace cadre {

struct TraceOptions {
  int32_t bos_id = -1;  // before each window; -1: none
  std::function<void(int64_t done, int64_t total)> on_progress = {};  // windows
  const std::atomic<bool>* cancelled = nullptr;
};

// Fills layers, num_experts and top_k of a trace that has texts. False: cancelled. Throws Error for
// a model without routers, for an id outside its vocabulary, and where a router's logits are no
// numbers.
bool TraceRouting(const Model& model, ExpertSource& experts, Device& device,
                  const SequenceConfig& config, const TraceOptions& options, RoutingTrace& trace);

}  // namespace cadre
