#include "eval/tasks/math_number.h"

#include <numeric>

namespace cadre {
namespace {

Fraction Reduced(int64_t numerator, int64_t denominator) {
  const int64_t divisor = std::gcd(numerator, denominator) * (denominator < 0 ? -1 : 1);
  return {numerator / divisor, denominator / divisor};
}

// Digits with at most one point among them; the sign was read.
std::optional<Fraction> ParseDecimal(std::string_view text) {
  constexpr int kMaxDigits = 15;
  Fraction number;
  int digits = 0;
  bool has_point = false;
  for (const char c : text) {
    if (c == '.' && !has_point) {
      has_point = true;
      continue;
    }
    if (c < '0' || c > '9' || ++digits > kMaxDigits) return std::nullopt;
    number.numerator = 10 * number.numerator + (c - '0');
    if (has_point) number.denominator *= 10;
  }
  if (digits == 0) return std::nullopt;
  return Reduced(number.numerator, number.denominator);
}

std::optional<Fraction> ParseWhole(std::string_view text) {
  const bool is_negative = text.starts_with('-');
  if (is_negative) text.remove_prefix(1);
  auto number = ParseDecimal(text);
  if (!number || number->denominator != 1) return std::nullopt;
  if (is_negative) number->numerator = -number->numerator;
  return number;
}

std::optional<Fraction> Quotient(std::string_view above, std::string_view below) {
  const auto numerator = ParseWhole(above), denominator = ParseWhole(below);
  if (!numerator || !denominator || denominator->numerator == 0) return std::nullopt;
  return Reduced(numerator->numerator, denominator->numerator);
}

std::optional<Fraction> ParseUnsigned(std::string_view text) {
  constexpr std::string_view kFraction = "\\frac{";
  if (text.starts_with(kFraction) && text.ends_with('}')) {
    text = text.substr(kFraction.size(), text.size() - kFraction.size() - 1);
    const size_t middle = text.find("}{");
    if (middle == text.npos) return std::nullopt;
    return Quotient(text.substr(0, middle), text.substr(middle + 2));
  }
  const size_t slash = text.find('/');
  if (slash != text.npos) return Quotient(text.substr(0, slash), text.substr(slash + 1));
  return ParseDecimal(text);
}

}  // namespace

std::optional<Fraction> ParseMathNumber(std::string_view text) {
  const bool is_negative = text.starts_with('-');
  if (is_negative) text.remove_prefix(1);
  auto number = ParseUnsigned(text);
  if (number && is_negative) number->numerator = -number->numerator;
  return number;
}

}  // namespace cadre
