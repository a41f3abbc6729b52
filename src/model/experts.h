// Where a layer's experts come from. The MoE says which experts a layer needs, asks for each when
// its rows are due and says when it is done with it, so a source may keep all of them in memory
// (here) or fetch them (store/expert_store.h).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/weights.h"

namespace cadre {

struct Routing;

// What fetching cost, since the beginning. All zero where every expert is in memory.
struct ExpertStats {
  // Of one layer's experts, each counted once per step that needed it.
  struct Layer {
    int64_t hits = 0;      // were in memory
    int64_t misses = 0;    // were not
    int64_t begun = 0;     // of the misses: were being read already, or had been, by a right guess
    int64_t foreseen = 0;  // needed in steps that were guessed at, and among the guesses
    int64_t unforeseen = 0;  // needed in those steps, and not
    // Choices: a row that uses two experts makes two.
    int64_t choices = 0;
    int64_t low_bit = 0;    // of these: run with a copy of the expert in fewer bits
    int64_t next_best = 0;  // of these: given to another expert
  };
  int64_t slots = 0;  // experts that have room
  int64_t bytes_read = 0;
  double stall_s = 0;  // waited for reads
  std::vector<Layer> layers;

  Layer Sum() const;  // of all layers
};

class ExpertSource {
 public:
  virtual ~ExpertSource() = default;

  // What the router chose for the layer's step, before it is planned. A source that shall not wait
  // for an expert may give the expert's rows to others here. Nothing changes where results are to
  // be exact.
  virtual void Settle(int64_t layer, const RouterConfig& config, Routing& routing) {
    static_cast<void>(layer);
    static_cast<void>(config);
    static_cast<void>(routing);
  }
  // The experts that the layer's step needs, each once. The source may put them in another order,
  // in which they are then acquired. Forgets what an earlier step that failed has not released.
  virtual void Plan(int64_t layer, std::span<int32_t> needed) {
    static_cast<void>(layer);
    static_cast<void>(needed);
  }
  // The expert's weights, valid until Release. Called by one thread. Throws Error when they cannot
  // be fetched; the source can be used on.
  virtual const ExpertWeights& Acquire(int64_t layer, int64_t expert) = 0;
  virtual void Release(int64_t layer, int64_t expert) = 0;

  virtual bool wants_guesses() const { return false; }
  // Experts that the layer's next step is likely to need, the likeliest first, each once. A hint:
  // nothing depends on it.
  virtual void Guess(int64_t layer, std::span<const int32_t> experts) {
    static_cast<void>(layer);
    static_cast<void>(experts);
  }

  virtual ExpertStats stats() const { return {}; }
};

// All experts are in memory (or mapped).
class ResidentExperts : public ExpertSource {
 public:
  explicit ResidentExperts(const ModelWeights& weights) : weights_(weights) {}
  const ExpertWeights& Acquire(int64_t layer, int64_t expert) override {
    return weights_.layers[static_cast<size_t>(layer)].experts[static_cast<size_t>(expert)];
  }
  void Release(int64_t, int64_t) override {}

 private:
  const ModelWeights& weights_;
};

inline ExpertStats::Layer ExpertStats::Sum() const {
  Layer sum;
  for (const Layer& layer : layers) {
    sum.hits += layer.hits;
    sum.misses += layer.misses;
    sum.begun += layer.begun;
    sum.foreseen += layer.foreseen;
    sum.unforeseen += layer.unforeseen;
    sum.choices += layer.choices;
    sum.low_bit += layer.low_bit;
    sum.next_best += layer.next_best;
  }
  return sum;
}

}  // namespace cadre
