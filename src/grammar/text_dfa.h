// Regular languages over Unicode characters as deterministic automata, and what is done with them:
// intersection, difference, bounds on the length. Characters are all code points but surrogates.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "grammar/compile_budget.h"

namespace cadre {

struct CodePointRange {
  uint32_t lo;
  uint32_t hi;  // included
};

// A set of characters: ascending, disjoint, not adjacent.
class CodePointSet {
 public:
  static constexpr uint32_t kLast = 0x10FFFF;

  CodePointSet() = default;
  explicit CodePointSet(std::vector<CodePointRange> ranges);
  static const CodePointSet& All();

  const std::vector<CodePointRange>& ranges() const { return ranges_; }
  CodePointSet Complement() const;

 private:
  void Normalize();

  std::vector<CodePointRange> ranges_;
};

// State 0 is the start; without states nothing is accepted, not even the empty text.
struct TextDfa {
  static constexpr size_t kMaxStates = 50'000;

  struct Step {
    uint32_t lo;
    uint32_t hi;  // included
    int32_t target;
  };
  struct State {
    std::vector<Step> steps;  // ascending, disjoint
    bool accepts = false;
  };
  std::vector<State> states;
};

TextDfa AnyText();
// Exactly `texts`, valid UTF-8.
TextDfa OneOfTexts(std::span<const std::string> texts, CompileBudget& budget);
// Texts of both; of `a` alone.
TextDfa Intersect(const TextDfa& a, const TextDfa& b, CompileBudget& budget);
TextDfa Subtract(const TextDfa& a, const TextDfa& b, CompileBudget& budget);
// Texts of `a` of `min` to `max` characters; max < 0: without end.
TextDfa WithLength(const TextDfa& a, int64_t min, int64_t max, CompileBudget& budget);

// Without the states from which no text is accepted.
TextDfa Trim(const TextDfa& dfa);
bool Accepts(const TextDfa& dfa, std::string_view utf8);

}  // namespace cadre
