#include "store/expert_store.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/error.h"
#include "base/log.h"

namespace cadre {

ExpertStore::ExpertStore(const Model& model, const WeightFiles& files, const Device& device,
                         KeptForm form, Loader& loader, const ExpertStoreConfig& config)
    : loader_(loader),
      misses_(config.misses),
      low_bit_(config.low_bit),
      memory_(model, files, device, form, config.slots + config.guesses),
      cache_(model.config.num_layers, model.config.router.num_experts, config.slots, config.policy),
      slots_(static_cast<size_t>(config.slots + config.guesses)),
      slot_of_place_(static_cast<size_t>(config.slots)),
      guess_slots_(static_cast<size_t>(config.guesses)) {
  std::iota(slot_of_place_.begin(), slot_of_place_.end(), 0);
  std::iota(guess_slots_.begin(), guess_slots_.end(), config.slots);
  const auto num_experts = static_cast<size_t>(model.config.router.num_experts);
  unordered_.reserve(num_experts);
  pending_.reserve(num_experts);
  used_.reserve(num_experts);
  guessed_.resize(num_experts);
  demand_.resize(num_experts);
  present_.resize(num_experts);
  is_given_up_.resize(num_experts);
  given_up_.reserve(num_experts);
  behind_slots_.reserve(slots_.size());
  stats_.slots = config.slots;
  stats_.layers.resize(static_cast<size_t>(model.config.num_layers));
}

ExpertStore::~ExpertStore() {
  for (Slot& slot : slots_) loader_.Cancel(slot.load);
}

std::optional<size_t> ExpertStore::FindGuess(int64_t layer, int64_t expert) const {
  for (size_t g = 0; g < guess_slots_.size(); ++g) {
    const Slot& slot = slots_[static_cast<size_t>(guess_slots_[g])];
    if (slot.layer == layer && slot.expert == expert) return g;
  }
  return std::nullopt;
}

std::optional<int64_t> ExpertStore::FindSlot(int64_t layer, int64_t expert) const {
  if (const auto place = cache_.Find(layer, expert))
    return slot_of_place_[static_cast<size_t>(*place)];
  const auto guess = FindGuess(layer, expert);
  return guess ? std::optional(guess_slots_[*guess]) : std::nullopt;
}

bool ExpertStore::IsReady(int64_t layer, int64_t expert) {
  const auto slot = FindSlot(layer, expert);
  return slot && loader_.IsDone(At(*slot).load);
}

void ExpertStore::Plan(int64_t layer, std::span<int32_t> needed) {
  used_.assign(needed.begin(), needed.end());
  for (const int32_t expert : GivenUp(layer))
    if (std::find(needed.begin(), needed.end(), expert) == needed.end()) used_.push_back(expert);
  Count(layer, used_);
  Order(layer, needed);
  cache_.Use(layer, used_);
  for (const int32_t expert : GivenUp(layer)) cache_.Unmark(layer, expert);
  layer_ = layer;
  pending_.clear();
  next_pending_ = 0;
  for (const int32_t expert : needed)
    if (!StandsIn(layer, expert) && !cache_.Find(layer, expert)) pending_.push_back(expert);
  ReadAgain(layer, needed);
  Fill();
  ReadBehind(layer);
  DropWrongGuesses(layer);
}

void ExpertStore::Count(int64_t layer, std::span<const int32_t> needed) {
  auto& counts = stats_.layers[static_cast<size_t>(layer)];
  for (const int32_t expert : needed) {
    const auto place = cache_.Find(layer, expert);
    const bool is_hit = place && IsReady(layer, expert);
    ++(is_hit ? counts.hits : counts.misses);
    if (!is_hit && (place || FindGuess(layer, expert))) ++counts.begun;
    if (guessed_layer_ == layer)
      ++(guessed_[static_cast<size_t>(expert)] ? counts.foreseen : counts.unforeseen);
  }
  guessed_layer_ = -1;
}

// What is there first, then what is on its way, then the rest: it is read in that order too.
void ExpertStore::Order(int64_t layer, std::span<int32_t> needed) {
  unordered_.clear();
  for (const int32_t expert : needed) {  // looked at once: what is on its way may arrive meanwhile
    const bool is_there = StandsIn(layer, expert) || IsReady(layer, expert);
    const int rank = is_there ? 0 : FindSlot(layer, expert) ? 1 : 2;
    unordered_.emplace_back(rank, expert);
  }
  auto next = needed.begin();
  for (const int wanted : {0, 1, 2}) {
    for (const auto& [rank, expert] : unordered_)
      if (rank == wanted) *next++ = expert;
  }
}

// What an earlier step, which failed, has left unread.
void ExpertStore::ReadAgain(int64_t layer, std::span<const int32_t> needed) {
  for (const int32_t expert : needed) {
    const auto place = cache_.Find(layer, expert);
    if (!place || StandsIn(layer, expert)) continue;
    const int64_t slot = slot_of_place_[static_cast<size_t>(*place)];
    if (!IsUnderWay(slot)) Begin(slot, layer, expert, Urgency::kNeeded);
  }
}

// Read, or being read.
bool ExpertStore::IsUnderWay(int64_t slot) {
  return loader_.IsLoading(At(slot).load) || loader_.IsDone(At(slot).load);
}

// Gives the next of the pending experts places and starts to read them, as far as there are any.
void ExpertStore::Fill() {
  while (next_pending_ < pending_.size()) {
    const int32_t expert = pending_[next_pending_];
    const auto place = cache_.Insert(layer_, expert);
    if (!place) return;
    ++next_pending_;
    Take(*place, expert, Urgency::kNeeded);
  }
}

// The expert gets this place of the cache, which another had before.
void ExpertStore::Take(int64_t place, int64_t expert, Urgency urgency) {
  int64_t& slot = slot_of_place_[static_cast<size_t>(place)];
  Empty(slot);
  if (const auto guess = FindGuess(layer_, expert)) {
    std::swap(slot, guess_slots_[*guess]);
    if (urgency == Urgency::kNeeded) loader_.Promote(At(slot).load);
  }
  if (!IsUnderWay(slot)) Begin(slot, layer_, expert, urgency);
}

void ExpertStore::Begin(int64_t slot, int64_t layer, int64_t expert, Urgency urgency) {
  Slot& at = At(slot);
  at.layer = layer;
  at.expert = expert;
  at.weights = memory_.Weights(layer, expert, slot);
  memory_.Describe(layer, expert, slot, at.load);
  loader_.Start(at.load, urgency);
}

void ExpertStore::Empty(int64_t slot) {
  loader_.Cancel(At(slot).load);
  At(slot).layer = -1;
}

// Of the layer that now knows what it needs.
void ExpertStore::DropWrongGuesses(int64_t layer) {
  for (const int64_t slot : guess_slots_) {
    const Slot& at = At(slot);
    const bool is_needed = std::find(pending_.begin() + static_cast<std::ptrdiff_t>(next_pending_),
                                     pending_.end(), at.expert) != pending_.end();
    if (at.layer == layer && !is_needed) Empty(slot);
  }
}

const ExpertWeights& ExpertStore::Acquire(int64_t layer, int64_t expert) {
  if (StandsIn(layer, expert)) return low_bit_->Get(layer, expert);
  if (!FindSlot(layer, expert)) {  // nobody planned
    auto alone = static_cast<int32_t>(expert);
    Plan(layer, {&alone, 1});
  }
  const auto slot = FindSlot(layer, expert);
  CADRE_CHECK(slot.has_value());
  Slot& at = At(*slot);
  if (!loader_.IsDone(at.load)) WaitFor(layer, expert, at);
  return at.weights;
}

// A read that failed gets another try: it may have been begun for an earlier step, when the disk
// was not well.
void ExpertStore::WaitFor(int64_t layer, int64_t expert, Slot& slot) {
  loader_.Promote(slot.load);
  const Stopwatch watch;
  if (!Arrives(slot)) {
    loader_.Start(slot.load, Urgency::kNeeded);
    try {
      loader_.Wait(slot.load);
    } catch (const Error&) {
      if (cache_.Find(layer, expert)) cache_.Remove(layer, expert);
      slot.layer = -1;
      throw;
    }
  }
  stats_.stall_s += watch.Seconds();
}

bool ExpertStore::Arrives(Slot& slot) {
  try {
    loader_.Wait(slot.load);
  } catch (const Error& error) {
    log::warn("{}; it is tried once more", error.what());
    return false;
  }
  return true;
}

void ExpertStore::Release(int64_t layer, int64_t expert) {
  cache_.Unmark(layer, expert);
  Fill();
}

void ExpertStore::Guess(int64_t layer, std::span<const int32_t> experts) {
  std::fill(guessed_.begin(), guessed_.end(), false);
  for (const int32_t expert : experts) guessed_[static_cast<size_t>(expert)] = true;
  // To name all of them is no guess.
  guessed_layer_ = experts.size() < guessed_.size() ? layer : -1;
  size_t next = 0;
  for (const int32_t expert : experts) {
    if (FindSlot(layer, expert)) continue;
    // A slot that holds neither another of these guesses nor what the present step waits for.
    while (next < guess_slots_.size()) {
      const Slot& slot = At(guess_slots_[next]);
      const bool is_guess = slot.layer == layer && guessed_[static_cast<size_t>(slot.expert)];
      if (!is_guess && slot.layer != layer_) break;
      ++next;
    }
    if (next == guess_slots_.size()) return;
    Empty(guess_slots_[next]);
    Begin(guess_slots_[next++], layer, expert, Urgency::kGuessed);
  }
}

ExpertStats ExpertStore::stats() const {
  ExpertStats stats = stats_;
  stats.bytes_read = loader_.bytes_read();
  return stats;
}

}  // namespace cadre
