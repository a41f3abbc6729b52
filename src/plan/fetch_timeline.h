// A run of ExpertStore without weights, disk or device: the same cache, the same order of reads and
// the same guesses, on a clock of its own. Says how long steps take when their products and reads
// take as long as they are said to. Pure: a function of its input and the seed.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "base/random.h"
#include "store/expert_cache.h"

namespace cadre {

// Seconds, of one layer in one step.
struct LayerCosts {
  double shared = 0;        // until its experts are known: attention, norms, the router
  double expert = 0;        // the products of one of its experts, once it is there
  double read = 0;          // one expert from the file, alone, packed
  double guessed_read = 0;  // the same at the pace of guesses
};

struct StepCosts {
  std::vector<LayerCosts> layers;
  double rest = 0;  // what follows the layers: the head
};

struct FetchConfig {
  int64_t num_layers = 0, num_experts = 0;
  int64_t slots = 0;    // experts in the cache
  int64_t guesses = 0;  // slots beside it
  CachePolicy policy = CachePolicy::kFrequency;
  double foreseen = 0;       // of the experts that a layer needs, the share its guesses name
  double packing_share = 0;  // of what computes, that packing takes while reads come in
  uint64_t seed = 0;
};

struct FetchCounts {
  int64_t hits = 0, misses = 0, begun = 0;  // as ExpertStats::Layer
  double waited = 0;                        // seconds for reads
  double experts_read = 0;                  // parts of guesses that were dropped count too
};

class FetchTimeline {
 public:
  explicit FetchTimeline(const FetchConfig& config);

  // One step whose layers need these experts ([layer]: each once). Returns its seconds.
  // all_are_guessed: as the page does with many tokens, it names every expert of the next layer.
  double Step(const StepCosts& costs, const std::vector<std::vector<int32_t>>& needed,
              bool all_are_guessed);

  const FetchCounts& counts() const { return counts_; }

 private:
  struct Read {
    int64_t layer = 0, expert = 0;
    double left = 1;  // of the expert
    bool guessed = false;
  };
  struct Guess {
    int64_t layer = -1, expert = 0;  // -1: nothing
  };

  void RunLayer(int64_t layer, const StepCosts& costs, std::vector<int32_t> needed,
                const std::vector<int32_t>* next, bool all_are_guessed);
  std::vector<int32_t> Named(const std::vector<int32_t>& needed, bool all);
  void GuessNext(int64_t layer, const std::vector<int32_t>& named);
  Guess* FindGuess(int64_t layer, int64_t expert);
  Read* FindRead(int64_t layer, int64_t expert);
  void Fill(int64_t layer);
  void Promote(int64_t layer, int64_t expert);
  void Cancel(int64_t layer, int64_t expert);
  void DropWrongGuesses(int64_t layer);
  Read* Current();
  void Compute(double seconds);
  void WaitFor(int64_t layer, int64_t expert);
  double SecondsOf(const Read& read) const;
  void Advance(Read& read, double seconds);

  FetchConfig config_;
  ExpertCache cache_;
  Random random_;
  const StepCosts* costs_ = nullptr;
  std::deque<Read> reads_;  // in the order of their beginning
  std::vector<Guess> guesses_;
  std::vector<int32_t> pending_;  // planned and without a place, in order
  size_t next_pending_ = 0;
  int64_t layer_ = 0;
  double now_ = 0;
  FetchCounts counts_;
};

}  // namespace cadre
