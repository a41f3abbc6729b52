// The answer that a text of MATH comes to, and when two answers are the same (Hendrycks et al.,
// arXiv 2103.03874; Lewkowycz et al., arXiv 2206.14858, appendix D). The forms of answers are made
// comparable as texts; nothing is computed but fractions and decimals of whole numbers, so what
// only algebra would show to be equal counts as different.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace cadre {

// What stands in "Final Answer: The final answer is ... . I hope it is correct.", which the
// examples end with.
std::optional<std::string> FinalAnswer(std::string_view text);

// What stands in the last \boxed{...} or \fbox{...}, with braces in pairs.
std::optional<std::string> LastBoxed(std::string_view text);

// Minerva's normal form: without units, words, dollar signs and spaces, shorthand written out.
std::string NormalMathAnswer(std::string_view answer);

// The normal form of the task's authors; none where their program would fail.
std::optional<std::string> StrippedMathAnswer(std::string_view answer);

// Whether two answers in Minerva's normal form are the same: as they stand, in the authors' form,
// or as numbers.
bool IsSameMathAnswer(const std::string& a, const std::string& b);

}  // namespace cadre
