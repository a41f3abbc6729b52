// Regular expressions as ECMA-262 spells them (with the u flag's characters), compiled to automata.
// Refuses what is not regular or cannot be decided while text is generated: lookaround,
// backreferences, word boundaries; and flags.
#pragma once

#include <string_view>

#include "grammar/compile_budget.h"
#include "grammar/text_dfa.h"

namespace cadre {

enum class RegexMatch : uint8_t {
  kWhole,     // the whole text matches, as if anchored at both ends
  kAnywhere,  // some part of the text matches: what "pattern" of JSON Schema means
};

// The texts that match `pattern`, UTF-8. Throws Error for a pattern that is not valid or not
// supported, naming the offset, and for one that costs more than the budget.
TextDfa CompileRegexText(std::string_view pattern, RegexMatch match, CompileBudget& budget);

}  // namespace cadre
