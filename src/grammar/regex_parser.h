// The syntax tree of a regular expression. See grammar/regex.h for what is refused.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "grammar/compile_budget.h"
#include "grammar/text_dfa.h"

namespace cadre {

struct RegexTree {
  static constexpr size_t kMaxPatternBytes = size_t{16} << 10;
  static constexpr int kMaxGroupDepth = 100;
  static constexpr int32_t kMaxCount = 10'000;
  static constexpr int32_t kUnlimited = -1;

  enum class Kind : uint8_t { kSet, kSequence, kChoice, kRepeat, kBegin, kEnd };
  struct Node {
    Kind kind;
    std::vector<int32_t> children;  // of a sequence, a choice; the one of a repeat
    CodePointSet set;
    int32_t min = 0;
    int32_t max = 0;
  };
  std::vector<Node> nodes;
  int32_t root = 0;
};

// Throws Error("regular expression: ... at offset N").
RegexTree ParseRegex(std::string_view pattern, CompileBudget& budget);

}  // namespace cadre
