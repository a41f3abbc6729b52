#include "plan/fetch_timeline.h"

#include <algorithm>

#include "base/error.h"

namespace cadre {

FetchTimeline::FetchTimeline(const FetchConfig& config)
    : config_(config),
      cache_(config.num_layers, config.num_experts, config.slots, config.policy),
      random_(config.seed),
      guesses_(static_cast<size_t>(config.guesses)) {}

double FetchTimeline::Step(const StepCosts& costs, const std::vector<std::vector<int32_t>>& needed,
                           bool all_are_guessed) {
  CADRE_CHECK(std::ssize(costs.layers) == config_.num_layers &&
              needed.size() == costs.layers.size());
  costs_ = &costs;
  const double begin = now_;
  for (int64_t l = 0; l < config_.num_layers; ++l) {
    const auto at = static_cast<size_t>(l);
    RunLayer(l, costs, needed[at], l + 1 < config_.num_layers ? &needed[at + 1] : nullptr,
             all_are_guessed);
  }
  Compute(costs.rest);
  return now_ - begin;
}

// As ExpertStore::Plan, then the page's guess, then each expert acquired, run and released.
void FetchTimeline::RunLayer(int64_t layer, const StepCosts& costs, std::vector<int32_t> needed,
                             const std::vector<int32_t>* next, bool all_are_guessed) {
  const LayerCosts& cost = costs.layers[static_cast<size_t>(layer)];
  Compute(cost.shared);
  layer_ = layer;
  const auto rank = [&](int32_t expert) {
    const bool known = cache_.Find(layer, expert) || FindGuess(layer, expert) != nullptr;
    return !known ? 2 : FindRead(layer, expert) != nullptr ? 1 : 0;
  };
  for (const int32_t expert : needed) {
    const bool hit = cache_.Find(layer, expert).has_value();
    ++(hit ? counts_.hits : counts_.misses);
    if (!hit && FindGuess(layer, expert) != nullptr) ++counts_.begun;
  }
  std::stable_sort(needed.begin(), needed.end(),
                   [&](int32_t a, int32_t b) { return rank(a) < rank(b); });
  cache_.Use(layer, needed);
  pending_.clear();
  next_pending_ = 0;
  for (const int32_t expert : needed)
    if (!cache_.Find(layer, expert)) pending_.push_back(expert);
  Fill(layer);
  DropWrongGuesses(layer);
  if (next != nullptr) GuessNext(layer + 1, Named(*next, all_are_guessed));
  for (const int32_t expert : needed) {
    WaitFor(layer, expert);
    Compute(cost.expert);
    cache_.Unmark(layer, expert);
    Fill(layer);
  }
}

// As many names as experts that will be needed, each right with the share that is foreseen.
std::vector<int32_t> FetchTimeline::Named(const std::vector<int32_t>& needed, bool all) {
  std::vector<int32_t> named;
  if (guesses_.empty()) return named;
  if (all) {
    for (int64_t e = 0; e < config_.num_experts; ++e) named.push_back(static_cast<int32_t>(e));
    return named;
  }
  for (const int32_t expert : needed)
    if (random_.NextDouble() < config_.foreseen) named.push_back(expert);
  // Wrong ones in place of those that are missing, as far as there are others.
  while (named.size() < needed.size()) {
    const auto other =
        static_cast<int32_t>(random_.NextBelow(static_cast<uint64_t>(config_.num_experts)));
    const auto among = [&](const std::vector<int32_t>& list) {
      return std::find(list.begin(), list.end(), other) != list.end();
    };
    if (2 * std::ssize(needed) > config_.num_experts) break;
    if (!among(needed) && !among(named)) named.push_back(other);
  }
  return named;
}

// As ExpertStore::Guess.
void FetchTimeline::GuessNext(int64_t layer, const std::vector<int32_t>& named) {
  size_t place = 0;
  for (const int32_t expert : named) {
    if (cache_.Find(layer, expert) || FindGuess(layer, expert) != nullptr) continue;
    while (place < guesses_.size()) {
      const Guess& guess = guesses_[place];
      const bool is_named = guess.layer == layer &&
                            std::find(named.begin(), named.end(), guess.expert) != named.end();
      if (!is_named && guess.layer != layer_) break;
      ++place;
    }
    if (place == guesses_.size()) return;
    Guess& guess = guesses_[place++];
    if (guess.layer >= 0) Cancel(guess.layer, guess.expert);
    guess = {layer, expert};
    reads_.push_back({.layer = layer, .expert = expert, .guessed = true});
  }
}

FetchTimeline::Guess* FetchTimeline::FindGuess(int64_t layer, int64_t expert) {
  for (Guess& guess : guesses_)
    if (guess.layer == layer && guess.expert == expert) return &guess;
  return nullptr;
}

FetchTimeline::Read* FetchTimeline::FindRead(int64_t layer, int64_t expert) {
  for (Read& read : reads_)
    if (read.layer == layer && read.expert == expert) return &read;
  return nullptr;
}

// Places for the pending experts, as far as there are any; a right guess brings what it has.
void FetchTimeline::Fill(int64_t layer) {
  for (; next_pending_ < pending_.size(); ++next_pending_) {
    const int32_t expert = pending_[next_pending_];
    if (!cache_.Insert(layer, expert)) return;
    if (Guess* guess = FindGuess(layer, expert)) {
      guess->layer = -1;
      Promote(layer, expert);
    } else {
      reads_.push_back({.layer = layer, .expert = expert});
    }
  }
}

// To the end of those that are needed.
void FetchTimeline::Promote(int64_t layer, int64_t expert) {
  Read* found = FindRead(layer, expert);
  if (found == nullptr) return;
  Read read = *found;
  Cancel(layer, expert);
  read.guessed = false;
  reads_.push_back(read);
}

void FetchTimeline::Cancel(int64_t layer, int64_t expert) {
  std::erase_if(reads_,
                [&](const Read& read) { return read.layer == layer && read.expert == expert; });
}

void FetchTimeline::DropWrongGuesses(int64_t layer) {
  for (Guess& guess : guesses_) {
    const bool is_needed = std::find(pending_.begin() + static_cast<std::ptrdiff_t>(next_pending_),
                                     pending_.end(), guess.expert) != pending_.end();
    if (guess.layer != layer || is_needed) continue;
    Cancel(guess.layer, guess.expert);
    guess.layer = -1;
  }
}

// What the disk is busy with: the first that is needed, else the first that is guessed.
FetchTimeline::Read* FetchTimeline::Current() {
  for (Read& read : reads_)
    if (!read.guessed) return &read;
  return reads_.empty() ? nullptr : &reads_.front();
}

double FetchTimeline::SecondsOf(const Read& read) const {
  const LayerCosts& cost = costs_->layers[static_cast<size_t>(read.layer)];
  return read.guessed ? cost.guessed_read : cost.read;
}

void FetchTimeline::Advance(Read& read, double seconds) {
  const double whole = SecondsOf(read);
  const double part = whole > 0 ? std::min(read.left, seconds / whole) : read.left;
  counts_.experts_read += part;
  read.left -= part;
  constexpr double kNothing = 1e-9;
  if (read.left > kNothing && whole > 0) return;
  Cancel(read.layer, read.expert);
}

// Work that takes so long where nothing is read.
void FetchTimeline::Compute(double seconds) {
  constexpr double kNothing = 1e-12;
  while (seconds > kNothing) {
    Read* read = Current();
    if (read == nullptr) {
      now_ += seconds;
      return;
    }
    const double speed = 1 - config_.packing_share;
    const double until_read = read->left * SecondsOf(*read);
    const double step = std::min(until_read, seconds / speed);
    Advance(*read, step);
    now_ += step;
    seconds -= step * speed;
  }
}

void FetchTimeline::WaitFor(int64_t layer, int64_t expert) {
  while (FindRead(layer, expert) != nullptr) {
    Read* read = Current();
    const double step = read->left * SecondsOf(*read);
    Advance(*read, step);
    now_ += step;
    counts_.waited += step;
  }
}

}  // namespace cadre
