// Whole numbers, decimals and fractions of them as LaTeX writes them, for comparing.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace cadre {

// In lowest terms, the denominator positive.
struct Fraction {
  int64_t numerator = 0;
  int64_t denominator = 1;
  bool operator==(const Fraction&) const = default;
};

// "-3", "0.50", ".5", "\frac{1}{2}", "-\frac{3}{4}", "3/4". None for anything else, and for more
// than fifteen digits.
std::optional<Fraction> ParseMathNumber(std::string_view text);

}  // namespace cadre
