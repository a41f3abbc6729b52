// Which examples stand before an item, by lm-evaluation-harness's rules: the first of the item's
// group in their order, or ones drawn for each item in turn with Python's generator from one seed.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "eval/tasks/task.h"

namespace cadre {

inline constexpr uint64_t kHarnessShotSeed = 1234;

// What is given must outlive it.
class Shots {
 public:
  // `pool`: null for examples out of the items themselves, each but the one that is asked. Throws
  // Error naming `source` where it holds too few.
  Shots(const Task& task, const std::vector<EvalItem>& items, const std::vector<EvalItem>* pool,
        int count, uint64_t seed, const std::string& source);

  // Description and examples, each with an empty line behind it.
  std::string Before(size_t item) const;

 private:
  void TakeFirst(int count, const std::string& source);
  void Draw(bool one_more, int count, uint64_t seed, const std::string& source);
  bool IsSame(size_t item, size_t candidate) const;

  const std::vector<EvalItem>* items_;
  const std::vector<EvalItem>* pool_;
  std::vector<std::vector<uint32_t>> chosen_;  // [items] indices into the pool
};

}  // namespace cadre
