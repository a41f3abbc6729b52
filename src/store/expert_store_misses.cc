// What the store does about experts that are not in memory besides waiting for them.
#include <algorithm>

#include "base/error.h"
#include "store/expert_store.h"

namespace cadre {
namespace {

constexpr size_t kMostBehind = 2;  // experts that are read for later at a time

}  // namespace

// An expert whose reading failed is always waited for: nothing hides a disk that is not well.
void ExpertStore::Settle(int64_t layer, const RouterConfig& config, Routing& routing) {
  auto& counts = stats_.layers[static_cast<size_t>(layer)];
  counts.choices += FindDemand(routing, demand_);
  settled_layer_ = layer;
  given_up_.clear();
  if (misses_.on_miss == OnMiss::kWait) return;
  for (size_t e = 0; e < demand_.size(); ++e) {
    const auto expert = static_cast<int64_t>(e);
    present_[e] = IsReady(layer, expert);
    is_given_up_[e] = !present_[e] && !HasFailed(layer, expert) &&
                      GoesWithout(misses_, demand_[e], ReadSeconds(layer, expert));
  }
  const bool low_bit = misses_.on_miss == OnMiss::kLowBit;
  if (!low_bit) ChooseNextBest(config, present_, is_given_up_, routing);
  for (size_t e = 0; e < demand_.size(); ++e) {
    if (!is_given_up_[e]) continue;
    given_up_.push_back(static_cast<int32_t>(e));
    (low_bit ? counts.low_bit : counts.next_best) += demand_[e].rows;
  }
}

bool ExpertStore::HasFailed(int64_t layer, int64_t expert) {
  const auto place = cache_.Find(layer, expert);
  return place && !IsUnderWay(slot_of_place_[static_cast<size_t>(*place)]);
}

// What the disk takes for what is not there of the expert; 0: it has not been measured.
double ExpertStore::ReadSeconds(int64_t layer, int64_t expert) {
  const double rate = loader_.NeededRate();
  if (rate <= 0) return 0;
  const auto slot = FindSlot(layer, expert);
  const bool is_loading = slot && loader_.IsLoading(At(*slot).load);
  const int64_t bytes =
      is_loading ? loader_.BytesLeft(At(*slot).load) : memory_.FileBytes(layer, expert);
  return static_cast<double>(bytes) / rate;
}

// By the layer's present step.
std::span<const int32_t> ExpertStore::GivenUp(int64_t layer) const {
  if (settled_layer_ != layer) return {};
  return given_up_;
}

// Whether the copy of the expert in fewer bits is used.
bool ExpertStore::StandsIn(int64_t layer, int64_t expert) const {
  if (low_bit_ == nullptr) return false;
  const auto given_up = GivenUp(layer);
  return std::find(given_up.begin(), given_up.end(), expert) != given_up.end();
}

// Experts that were given up get places like all that are used, once those that are waited for have
// theirs, and are read after everything else. Few at a time: what is read must be there before it
// has to make room again.
void ExpertStore::ReadBehind(int64_t layer) {
  if (next_pending_ < pending_.size()) return;
  std::erase_if(behind_slots_, [&](int64_t slot) { return !loader_.IsLoading(At(slot).load); });
  for (const int32_t expert : GivenUp(layer)) {
    const bool is_guess = FindGuess(layer, expert).has_value();
    if (cache_.Find(layer, expert) || (!is_guess && behind_slots_.size() >= kMostBehind)) continue;
    const auto place = cache_.Insert(layer, expert);
    if (!place) return;
    Take(*place, expert, Urgency::kBehind);
    if (!is_guess) behind_slots_.push_back(slot_of_place_[static_cast<size_t>(*place)]);
  }
}

}  // namespace cadre
