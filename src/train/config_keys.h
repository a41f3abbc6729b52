// Configuration as keys: each with a sentence of documentation and the field it sets. A file says
// them as one JSON object, nested or with dotted names; "key=value" settings override it. Refuses
// keys it does not know and values out of range, naming the key.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/json.h"

namespace cadre {

struct ConfigKey {
  const char* name;
  std::string doc;
  bool is_fixed;  // for the length of a run: part of the fingerprint
  std::function<void(const Json&, const std::string& where)> read;
};

using ConfigReader = std::function<void(const Json&, const std::string& where)>;

// Readers of one kind of value into a field, which must outlive them.
ConfigReader IntegerKey(int64_t& field, int64_t min, int64_t max);
ConfigReader TextKey(std::string& field);
ConfigReader BoolKey(bool& field);
template <typename Number>
ConfigReader NumberKey(Number& field, double min, double max);
// One of several words.
ConfigReader WordKey(std::vector<std::pair<std::string, std::function<void()>>> words);

// A list of strings.
std::vector<std::string> StringsOf(const Json& value, const std::string& where);

// Reads the file's object and the settings into the keys' fields; a setting's value is JSON, or
// else a string. Returns the fingerprint: all fixed keys that were given, as canonical JSON. `help`
// is the command that lists the keys. `given` gets all keys that were given, fixed or not.
std::string ReadConfig(const std::vector<ConfigKey>& keys, const Json& json,
                       const std::vector<std::string>& settings, const std::string& name,
                       const char* help, std::string* given = nullptr);

// Key and what it means with its default, in order.
std::vector<std::pair<std::string, std::string>> Documented(const std::vector<ConfigKey>& keys);

template <typename Number>
ConfigReader NumberKey(Number& field, double min, double max) {
  return [&field, min, max](const Json& value, const std::string& where) {
    const Json member{{"value", value}};
    const double parsed = JsonNumber(member, "value", static_cast<double>(field), where);
    if (!(parsed >= min && parsed <= max))
      throw Error("{}: is {} but must be from {} to {}", where, parsed, min, max);
    field = static_cast<Number>(parsed);
  };
}

}  // namespace cadre
