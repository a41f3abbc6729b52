// Experts fetched from the file when they are needed, within a fixed number of slots: an
// ExpertSource for models larger than memory. A layer's step plans first: what is there runs first,
// what is missing is read meanwhile, each expert at most once per step and layer. A few slots
// beside the cache hold what the next layer is guessed to need; a right guess takes its place in
// the cache as if it had been read just then, so hits are the same with guesses and without. Where
// that is asked for, something stands in for experts that would be waited for too long
// (miss_policy.h); they are then read while the disk has nothing else to do.
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "model/experts.h"
#include "store/expert_cache.h"
#include "store/expert_slots.h"
#include "store/loader.h"
#include "store/low_bit_experts.h"
#include "store/miss_policy.h"

namespace cadre {

struct ExpertStoreConfig {
  int64_t slots = 1;    // experts in the cache
  int64_t guesses = 0;  // slots beside it; 0: no guesses
  CachePolicy policy = CachePolicy::kFrequency;
  MissPolicy misses = {};
  const LowBitExperts* low_bit = nullptr;  // with OnMiss::kLowBit; must outlive the store
};

// Called by one thread, as every ExpertSource.
class ExpertStore : public ExpertSource {
 public:
  // What it is given must outlive it; the files are the model's. Reads nothing yet.
  ExpertStore(const Model& model, const WeightFiles& files, const Device& device, KeptForm form,
              Loader& loader, const ExpertStoreConfig& config);
  ~ExpertStore() override;
  ExpertStore(const ExpertStore&) = delete;
  ExpertStore& operator=(const ExpertStore&) = delete;

  void Settle(int64_t layer, const RouterConfig& config, Routing& routing) override;
  void Plan(int64_t layer, std::span<int32_t> needed) override;
  const ExpertWeights& Acquire(int64_t layer, int64_t expert) override;
  void Release(int64_t layer, int64_t expert) override;
  bool wants_guesses() const override { return !guess_slots_.empty(); }
  void Guess(int64_t layer, std::span<const int32_t> experts) override;
  ExpertStats stats() const override;

 private:
  // What a slot of memory holds, or is getting.
  struct Slot {
    int64_t layer = -1;  // -1: nothing
    int64_t expert = 0;
    Load load;
    ExpertWeights weights;
  };
  Slot& At(int64_t slot) { return slots_[static_cast<size_t>(slot)]; }
  std::optional<size_t> FindGuess(int64_t layer, int64_t expert) const;
  std::optional<int64_t> FindSlot(int64_t layer, int64_t expert) const;
  bool IsReady(int64_t layer, int64_t expert);
  bool StandsIn(int64_t layer, int64_t expert) const;
  bool HasFailed(int64_t layer, int64_t expert);
  double ReadSeconds(int64_t layer, int64_t expert);
  std::span<const int32_t> GivenUp(int64_t layer) const;
  void ReadBehind(int64_t layer);
  void Count(int64_t layer, std::span<const int32_t> needed);
  void Order(int64_t layer, std::span<int32_t> needed);
  void ReadAgain(int64_t layer, std::span<const int32_t> needed);
  bool IsUnderWay(int64_t slot);
  void Fill();
  void Take(int64_t place, int64_t expert, Urgency urgency);
  void Begin(int64_t slot, int64_t layer, int64_t expert, Urgency urgency);
  void Empty(int64_t slot);
  void DropWrongGuesses(int64_t layer);
  void WaitFor(int64_t layer, int64_t expert, Slot& slot);
  bool Arrives(Slot& slot);

  Loader& loader_;
  const MissPolicy misses_;
  const LowBitExperts* const low_bit_;
  ExpertSlots memory_;
  ExpertCache cache_;
  std::vector<Slot> slots_;
  std::vector<int64_t> slot_of_place_;  // of the cache's places
  std::vector<int64_t> guess_slots_;    // the others

  int64_t layer_ = 0;                               // that is planned
  std::vector<std::pair<int, int32_t>> unordered_;  // scratch of Order
  std::vector<int32_t> pending_;  // planned and still without a place in the cache, in order
  size_t next_pending_ = 0;
  std::vector<bool> guessed_;  // [experts], of guessed_layer_
  int64_t guessed_layer_ = -1;
  int64_t settled_layer_ = -1;         // what follows is of its step
  std::vector<Demand> demand_;         // [experts]
  std::vector<bool> present_;          // [experts] can be used at once
  std::vector<bool> is_given_up_;      // [experts] something stands in for them
  std::vector<int32_t> given_up_;      // these
  std::vector<int32_t> used_;          // needed, or given up; scratch of Plan
  std::vector<int64_t> behind_slots_;  // that are being read for later
  ExpertStats stats_;
};

}  // namespace cadre
