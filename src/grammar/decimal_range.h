// Decimal numbers between bounds, and multiples, as a grammar: bounds are compared digit by digit,
// exactly, so nothing is rounded.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/json_fwd.h"
#include "grammar/compile_budget.h"
#include "grammar/grammar.h"

namespace cadre {

struct DecimalBound {
  bool negative = false;
  std::string whole = "0";  // without leading zeros
  std::string fraction;     // without trailing zeros
  bool excluded = false;    // the bound itself is out of the range

  bool is_zero() const { return whole == "0" && fraction.empty(); }
};

struct DecimalRange {
  std::optional<DecimalBound> min;
  std::optional<DecimalBound> max;
  bool integer = false;  // no point
  // Multiples of multiple / 10^scale alone; 0: any number.
  uint32_t multiple = 0;
  int scale = 0;
};

// The decimal digits of a JSON number: as written for an integer, else the shortest that give the
// same double. `number` is finite.
DecimalBound ParseDecimal(const OrderedJson& number, bool excluded);
// Less than 0, 0 or more as a < b, a == b or a > b; `excluded` counts for nothing.
int CompareDecimals(const DecimalBound& a, const DecimalBound& b);

// The integers of 32 or 64 bits.
DecimalRange IntegerFormat(bool short_integer);

// Sets multiple and scale of `range` to those of a "multipleOf". Returns false where its digits are
// too many for that: more than nine in all, or a scale above JsonRules::kMaxDigits.
bool SetMultiple(const OrderedJson& multiple, DecimalRange& range);
// Whether `number` is one of the multiples that `range` says.
bool IsMultiple(const DecimalBound& number, const DecimalRange& range);

// Adds the numbers of `range` as ways from `from` to `to`: with an optional '-', without
// exponent; integers of at most JsonRules::kMaxDigits digits, others of at most 15 in all. Throws
// Error for multiples that need too many states.
void AddDecimals(Grammar& grammar, const DecimalRange& range, int32_t from, int32_t to,
                 CompileBudget& budget);

}  // namespace cadre
