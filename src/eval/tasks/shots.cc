#include "eval/tasks/shots.h"

#include "base/error.h"
#include "eval/tasks/python_random.h"

namespace cadre {

Shots::Shots(const Task& task, const std::vector<EvalItem>& items,
             const std::vector<EvalItem>* pool, int count, uint64_t seed, const std::string& source)
    : items_(&items), pool_(pool != nullptr ? pool : &items), chosen_(items.size()) {
  if (count == 0) return;
  if (task.shot_order == ShotOrder::kFirst) {
    TakeFirst(count, source);
  } else {
    Draw(pool == nullptr || task.draws_one_more(), count, seed, source);
  }
}

// An item is no example of itself, wherever it was found.
bool Shots::IsSame(size_t item, size_t candidate) const {
  if (pool_ == items_) return item == candidate;
  const EvalItem& a = (*items_)[item];
  const EvalItem& b = (*pool_)[candidate];
  return a.example == b.example && a.answers == b.answers && a.gold == b.gold;
}

void Shots::TakeFirst(int count, const std::string& source) {
  std::unordered_map<std::string, std::vector<uint32_t>> groups;
  for (size_t i = 0; i < pool_->size(); ++i)
    groups[(*pool_)[i].group].push_back(static_cast<uint32_t>(i));
  for (size_t i = 0; i < items_->size(); ++i) {
    const std::string& group = (*items_)[i].group;
    for (const uint32_t candidate : groups[group]) {
      if (std::ssize(chosen_[i]) == count) break;
      if (!IsSame(i, candidate)) chosen_[i].push_back(candidate);
    }
    if (std::ssize(chosen_[i]) < count) {
      throw Error("{}: holds {} examples{} but must hold {}", source, chosen_[i].size(),
                  group.empty() ? "" : " of " + Printable(group), count);
    }
  }
}

void Shots::Draw(bool one_more, int count, uint64_t seed, const std::string& source) {
  const auto size = static_cast<uint32_t>(pool_->size());
  const auto drawn = static_cast<uint32_t>(count) + (one_more ? 1 : 0);
  if (size < drawn) throw Error("{}: holds {} examples but must hold {}", source, size, drawn);
  PythonRandom random(seed);
  for (size_t i = 0; i < items_->size(); ++i) {
    for (const uint32_t candidate : random.Sample(size, drawn)) {
      const bool is_wanted = std::ssize(chosen_[i]) < count && !(one_more && IsSame(i, candidate));
      if (is_wanted) chosen_[i].push_back(candidate);
    }
  }
}

std::string Shots::Before(size_t item) const {
  std::string before = (*items_)[item].description;
  for (const uint32_t shot : chosen_[item]) before += (*pool_)[shot].example + "\n\n";
  return before;
}

}  // namespace cadre
