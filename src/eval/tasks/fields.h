// Members of a line of data, with errors that name the line, the member, what was found and what
// was expected.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"

namespace cadre {

// One line of a file and its "PATH:NUMBER". Every function throws Error for a member that is absent
// or of another type.
class Fields {
 public:
  // Throws Error unless `value` is an object. Both must outlive it.
  Fields(const Json& value, const std::string& name);

  const std::string& name() const { return name_; }
  bool Has(const char* key) const;  // there, and not null

  std::string Text(const char* key) const;
  // The same, or `fallback` where it is absent; a number is its digits.
  std::string TextOr(const char* key, const std::string& fallback) const;
  // A list of at least `least` strings.
  std::vector<std::string> Texts(const char* key, size_t least = 1) const;
  // A list of strings, or one string of parts between ';', trimmed; empty ones are dropped.
  std::vector<std::string> TextsOrList(const char* key) const;
  Fields Object(const char* key) const;
  const Json& Value(const char* key) const;
  // A whole number in [min, max], also as a string of digits, or true and false as 1 and 0.
  int64_t Number(const char* key, int64_t min, int64_t max) const;

  // Throws Error("{name}: {key} is {found} but must be {expected}").
  [[noreturn]] void Fail(const char* key, const char* expected) const;

 private:
  const Json& value_;
  const std::string& name_;
};

}  // namespace cadre
