#include "grammar/json_rules.h"

#include "base/json.h"
#include "grammar/spell.h"

namespace cadre {

int32_t JsonRules::Value() {
  if (value_ >= 0) return value_;
  value_ = grammar_.AddRule();
  const auto [start, end, nests] = grammar_.rule(value_);
  for (const char* word : {"null", "true", "false"}) grammar_.AddLiteral(start, word, end);
  grammar_.AddCall(start, String(), end);
  grammar_.AddCall(start, Number(), end);
  grammar_.AddCall(start, Object(), end);
  grammar_.AddCall(start, Array(), end);
  return value_;
}

int32_t JsonRules::Object() {
  if (object_ >= 0) return object_;
  object_ = grammar_.AddRule(true);
  const auto [start, end, nests] = grammar_.rule(object_);
  const int32_t member = grammar_.AddRule();
  const int32_t name_end = grammar_.AddState();
  const int32_t value_start = grammar_.AddState();
  grammar_.AddCall(grammar_.rule(member).start, String(), name_end);
  AddSeparator(name_end, ':', value_start);
  grammar_.AddCall(value_start, Value(), grammar_.rule(member).end);

  const int32_t more = grammar_.AddRule();
  const int32_t more_start = grammar_.AddState();
  AddSeparator(grammar_.rule(more).start, ',', more_start);
  grammar_.AddCall(more_start, member, grammar_.rule(more).end);

  const int32_t open = grammar_.AddLiteral(start, "{");
  const int32_t first = grammar_.AddState();
  const int32_t close = grammar_.AddState();
  grammar_.AddEmpty(open, close);
  grammar_.AddCall(open, member, first);
  grammar_.AddRepeat(first, more, 0, Grammar::kUnlimited, close);
  grammar_.AddLiteral(close, "}", end);
  return object_;
}

int32_t JsonRules::Array() {
  if (array_ >= 0) return array_;
  array_ = grammar_.AddRule(true);
  const auto [start, end, nests] = grammar_.rule(array_);
  const int32_t more = grammar_.AddRule();
  const int32_t more_start = grammar_.AddState();
  AddSeparator(grammar_.rule(more).start, ',', more_start);
  grammar_.AddCall(more_start, Value(), grammar_.rule(more).end);

  const int32_t open = grammar_.AddLiteral(start, "[");
  const int32_t first = grammar_.AddState();
  const int32_t close = grammar_.AddState();
  grammar_.AddEmpty(open, close);
  grammar_.AddCall(open, Value(), first);
  grammar_.AddRepeat(first, more, 0, Grammar::kUnlimited, close);
  grammar_.AddLiteral(close, "]", end);
  return array_;
}

int32_t JsonRules::String() {
  if (string_ >= 0) return string_;
  string_ = grammar_.AddRule();
  const auto [start, end, nests] = grammar_.rule(string_);
  const int32_t open = grammar_.AddLiteral(start, "\"");
  const int32_t close = grammar_.AddState();
  grammar_.AddRepeat(open, Character(), 0, Grammar::kUnlimited, close);
  grammar_.AddLiteral(close, "\"", end);
  return string_;
}

int32_t JsonRules::Character() {
  if (character_ < 0) character_ = AddFreeCharacterRule(grammar_);
  return character_;
}

int32_t JsonRules::Digit() {
  if (digit_ >= 0) return digit_;
  digit_ = grammar_.AddRule();
  grammar_.AddBytes(grammar_.rule(digit_).start, '0', '9', grammar_.rule(digit_).end);
  return digit_;
}

void JsonRules::AddInteger(int32_t from, int32_t to) {
  const int32_t unsigned_start = grammar_.AddState();
  const int32_t first = grammar_.AddState();
  grammar_.AddEmpty(from, unsigned_start);
  grammar_.AddBytes(from, '-', '-', unsigned_start);
  grammar_.AddBytes(unsigned_start, '0', '0', to);
  grammar_.AddBytes(unsigned_start, '1', '9', first);
  grammar_.AddRepeat(first, Digit(), 0, kMaxDigits - 1, to);
}

int32_t JsonRules::Integer() {
  if (integer_ >= 0) return integer_;
  integer_ = grammar_.AddRule();
  AddInteger(grammar_.rule(integer_).start, grammar_.rule(integer_).end);
  return integer_;
}

int32_t JsonRules::Number() {
  if (number_ >= 0) return number_;
  number_ = grammar_.AddRule();
  const auto [start, end, nests] = grammar_.rule(number_);
  const int32_t whole = grammar_.AddState();
  const int32_t mantissa = grammar_.AddState();
  AddInteger(start, whole);
  const int32_t point = grammar_.AddLiteral(whole, ".");
  grammar_.AddRepeat(point, Digit(), 1, kMaxDigits, mantissa);
  grammar_.AddEmpty(whole, mantissa);
  grammar_.AddEmpty(mantissa, end);
  const int32_t exponent = grammar_.AddState();
  const int32_t digits = grammar_.AddState();
  grammar_.AddBytes(mantissa, 'e', 'e', exponent);
  grammar_.AddBytes(mantissa, 'E', 'E', exponent);
  grammar_.AddEmpty(exponent, digits);
  grammar_.AddBytes(exponent, '+', '+', digits);
  grammar_.AddBytes(exponent, '-', '-', digits);
  grammar_.AddRepeat(digits, Digit(), 1, 2, end);
  return number_;
}

void JsonRules::AddSeparator(int32_t from, char separator, int32_t to) {
  const int32_t behind = grammar_.AddState();
  const auto byte = static_cast<uint8_t>(separator);
  grammar_.AddBytes(from, byte, byte, behind);
  grammar_.AddEmpty(behind, to);
  grammar_.AddBytes(behind, ' ', ' ', to);
}

void JsonRules::AddValue(int32_t from, const OrderedJson& value, int32_t to) {
  if (value.is_object() || value.is_array()) {
    from = grammar_.AddLiteral(from, value.is_object() ? "{" : "[");
    bool first = true;
    for (const auto& [name, member] : value.items()) {
      if (!first) {
        const int32_t next = grammar_.AddState();
        AddSeparator(from, ',', next);
        from = next;
      }
      first = false;
      if (value.is_object()) {
        const int32_t next = grammar_.AddState();
        AddSeparator(grammar_.AddLiteral(from, QuotedJson(name)), ':', next);
        from = next;
      }
      const int32_t next = grammar_.AddState();
      AddValue(from, member, next);
      from = next;
    }
    grammar_.AddLiteral(from, value.is_object() ? "}" : "]", to);
  } else {
    grammar_.AddLiteral(from, value.dump(), to);
  }
}

}  // namespace cadre
