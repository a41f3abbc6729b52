// The number that a text of GSM8K comes to (Cobbe et al., arXiv 2110.14168), by the rules of
// lm-evaluation-harness's task gsm8k.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace cadre {

// What follows the first "#### " that is followed by a number: #### (-?[0-9.,]+).
std::optional<std::string> MarkedNumber(std::string_view text);

// The last of what looks like a number: (-?[$0-9.,]{2,})|(-?[0-9]+).
std::optional<std::string> LastNumber(std::string_view text);

// As two numbers are compared: what stands behind the last "#### ", without commas, dollar signs
// and a full stop at the end.
std::string ComparableNumber(std::string_view number);

}  // namespace cadre
