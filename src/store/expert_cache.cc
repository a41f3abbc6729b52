#include "store/expert_cache.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace cadre {

ExpertCache::ExpertCache(int64_t num_layers, int64_t num_experts, int64_t capacity,
                         CachePolicy policy)
    : num_layers_(num_layers),
      num_experts_(num_experts),
      policy_(policy),
      entries_(static_cast<size_t>(num_layers * num_experts)),
      steps_(static_cast<size_t>(num_layers)),
      places_(static_cast<size_t>(capacity), -1) {
  CADRE_CHECK(capacity >= 1);
  marked_.reserve(static_cast<size_t>(num_experts));
}

void ExpertCache::Use(int64_t layer, std::span<const int32_t> experts) {
  for (const size_t key : marked_) entries_[key].marked = false;
  marked_.clear();
  layer_ = layer;
  ++steps_[static_cast<size_t>(layer)];
  for (const int32_t expert : experts) {
    const size_t key = Key(layer, expert);
    Touch(layer, entries_[key]);
    entries_[key].marked = true;
    marked_.push_back(key);
  }
}

void ExpertCache::Touch(int64_t layer, Entry& entry) {
  const int64_t step = steps_[static_cast<size_t>(layer)];
  entry.uses *= std::pow(kDecay, static_cast<double>(step - entry.last_step));
  entry.uses += 1;
  entry.last_step = step;
}

void ExpertCache::Unmark(int64_t layer, int64_t expert) {
  entries_[Key(layer, expert)].marked = false;
}

std::optional<int64_t> ExpertCache::Find(int64_t layer, int64_t expert) const {
  const int64_t place = entries_[Key(layer, expert)].place;
  return place < 0 ? std::nullopt : std::optional(place);
}

// The higher, the sooner it is likely to be used again.
double ExpertCache::Worth(size_t key) const {
  const Entry& entry = entries_[key];
  const int64_t step = steps_[key / static_cast<size_t>(num_experts_)];
  const auto age = static_cast<double>(step - entry.last_step);
  if (policy_ == CachePolicy::kLru) return -age;
  return (1 - kDecay) * entry.uses * std::pow(kDecay, age) +
         kRecency * std::pow(kRecencyDecay, age);
}

// Steps of any layer until the expert's layer runs again.
int64_t ExpertCache::StepsUntil(size_t key) const {
  const auto layer = static_cast<int64_t>(key) / num_experts_;
  return layer > layer_ ? layer - layer_ : layer - layer_ + num_layers_;
}

// Of those worth the same, the one whose layer's turn is farthest away, then the lowest.
std::optional<int64_t> ExpertCache::Victim() const {
  std::optional<int64_t> victim;
  double least = 0;
  int64_t farthest = 0;
  for (int64_t place = 0; place < capacity(); ++place) {
    const auto key = static_cast<size_t>(places_[static_cast<size_t>(place)]);
    if (entries_[key].marked) continue;
    const double worth = Worth(key);
    const int64_t away = StepsUntil(key);
    const bool goes_first = !victim || worth < least || (worth == least && away > farthest);
    if (!goes_first) {
      const auto other = static_cast<size_t>(places_[static_cast<size_t>(*victim)]);
      if (worth != least || away != farthest || key > other) continue;
    }
    victim = place;
    least = worth;
    farthest = away;
  }
  return victim;
}

std::optional<int64_t> ExpertCache::Insert(int64_t layer, int64_t expert) {
  const size_t key = Key(layer, expert);
  CADRE_CHECK(entries_[key].place < 0);
  std::optional<int64_t> place;
  if (num_used_ < capacity()) {
    place = std::find(places_.begin(), places_.end(), -1) - places_.begin();
    ++num_used_;
  } else {
    place = Victim();
    if (!place) return std::nullopt;
    entries_[static_cast<size_t>(places_[static_cast<size_t>(*place)])].place = -1;
  }
  places_[static_cast<size_t>(*place)] = static_cast<int64_t>(key);
  entries_[key].place = *place;
  return place;
}

void ExpertCache::Remove(int64_t layer, int64_t expert) {
  Entry& entry = entries_[Key(layer, expert)];
  CADRE_CHECK(entry.place >= 0);
  places_[static_cast<size_t>(entry.place)] = -1;
  entry.place = -1;
  --num_used_;
}

}  // namespace cadre
