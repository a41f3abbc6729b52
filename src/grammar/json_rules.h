// The rules of JSON that any schema needs, each added to a grammar when it is first asked for. One
// space may stand behind ',' and ':', and no other white space anywhere, so that no answer can be
// filled with it; numbers have a bounded number of digits.
#pragma once

#include <cstdint>

#include "base/json_fwd.h"
#include "grammar/grammar.h"

namespace cadre {

class JsonRules {
 public:
  // An integer has at most so many digits, so has a fraction; an exponent has two.
  static constexpr int kMaxDigits = 19;

  explicit JsonRules(Grammar& grammar) : grammar_(grammar) {}

  // Any value; any value of a kind.
  int32_t Value();
  int32_t Object();
  int32_t Array();
  int32_t String();
  int32_t Number();
  int32_t Integer();

  // One character of a string, in any spelling.
  int32_t Character();

  // Reads `separator` and a space that may be there.
  void AddSeparator(int32_t from, char separator, int32_t to);
  // Reads `value`, spelt as JSON's own printer does but for the spaces.
  void AddValue(int32_t from, const OrderedJson& value, int32_t to);

 private:
  int32_t Digit();
  void AddInteger(int32_t from, int32_t to);

  Grammar& grammar_;
  int32_t value_ = -1;
  int32_t object_ = -1;
  int32_t array_ = -1;
  int32_t string_ = -1;
  int32_t number_ = -1;
  int32_t integer_ = -1;
  int32_t character_ = -1;
  int32_t digit_ = -1;
};

}  // namespace cadre
