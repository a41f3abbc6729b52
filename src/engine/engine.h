// Many requests through one model: continuous batching with chunked prefill, pages of keys and
// values within a budget, reuse of common beginnings, preemption by recompute. What a request gets
// is what it would get alone, bit for bit: rows are independent (ARCHITECTURE.md, contract 1) and
// every draw is a function of the request's seed and the position.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "engine/request.h"
#include "engine/sequence.h"
#include "text/tokenizer.h"

namespace cadre {

struct EngineConfig {
  SequenceConfig sequence;
  int64_t context_length = 0;  // prompt and answer of a request; 0: what the model was trained for
  int64_t max_running = 64;    // requests that share a step
  int64_t max_queued = 256;    // requests that wait
  int64_t kv_bytes = 0;       // for all pages; 0: what max_running requests of this model may need,
                              // at most a quarter of the memory that is free
  int64_t step_tokens = 512;  // rows of a step, so a long prompt cannot hold up the others
  int64_t max_experts = 0;    // that a request may ask for per token; 0: all there are
  bool prefix_cache = true;
  bool speculation = true;  // prompt lookup, while it pays by the engine's own measurement
};

// Since the engine began, but for the gauges.
struct EngineStats {
  int64_t running = 0;  // gauge
  int64_t queued = 0;   // gauge
  int64_t requests = 0;
  int64_t refused = 0;
  int64_t finished = 0;
  int64_t cancelled = 0;
  int64_t failed = 0;
  int64_t preempted = 0;
  int64_t steps = 0;
  int64_t prompt_tokens = 0;  // run, so without cached ones
  int64_t cached_tokens = 0;
  int64_t generated_tokens = 0;
  int64_t drafted_tokens = 0;
  int64_t accepted_tokens = 0;
  int64_t pages = 0;         // gauge: all there may be
  int64_t pages_in_use = 0;  // gauge: of running requests
  int64_t pages_cached = 0;  // gauge: kept for later requests
  int64_t page_bytes = 0;
  double step_s = 0;                   // sum over steps
  double constraint_s = 0;             // sum over ended answers, side by side in the steps
  std::vector<int64_t> expert_tokens;  // [layers, experts] rows that chose the expert
  ExpertStats experts;                 // of a source that fetches them
};

enum class Admission { kAdmitted, kQueueFull, kStopping };

// Thread-safe. What the constructor is given must outlive it; it owns one thread.
class Engine {
 public:
  Engine(const Model& model, ExpertSource& experts, Device& device, const Tokenizer& tokenizer,
         const EngineConfig& config);
  ~Engine();  // cancels what is left
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Throws Error for a request that can never be served: empty or too long prompt, ids or settings
  // out of range. On kAdmitted the callback will be told exactly one end.
  struct Submission {
    Admission admission;
    RequestId id;  // with kAdmitted
  };
  Submission Submit(Request request, RequestCallback callback);
  // Ends the request before the next step, whatever its state; no event follows but the end. An id
  // that has ended already is ignored.
  void Cancel(RequestId id);
  // A paused request keeps what it has but gets no step: its reader is slow.
  void SetPaused(RequestId id, bool paused);

  // Takes no more requests, lets those it has finish (all are cancelled after timeout_s), and
  // returns when none is left.
  void Drain(double timeout_s);

  EngineStats stats() const;
  int64_t context_length() const;
  // A prompt of that many tokens is the longest there can be.
  int64_t max_prompt_tokens() const { return context_length(); }

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace cadre
