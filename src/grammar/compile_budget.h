// How much work a grammar from outside may cost before it is refused. Counted in steps, not in
// seconds, so that the same schema is accepted or refused on every machine.
#pragma once

#include <cstdint>

#include "base/error.h"

namespace cadre {

class CompileBudget {
 public:
  // A step is a look at a state or an edge while automata are built: less than 0.2
  // microseconds and 16 bytes.
  static constexpr int64_t kMaxSteps = 1'500'000;

  explicit CompileBudget(int64_t max_steps = kMaxSteps) : left_(max_steps) {}

  // Throws Error when all is spent.
  void Spend(int64_t steps) {
    left_ -= steps;
    if (left_ < 0) throw Error("grammar: too large or too intricate to be compiled");
  }
  int64_t left() const { return left_; }

 private:
  int64_t left_;
};

}  // namespace cadre
