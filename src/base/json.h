// JSON from outside: nlohmann's parser behind checks it does not make (duplicate keys, depth, size,
// whole input), and typed access that names the key, what was found and what was expected.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/json_fwd.h"

namespace cadre {

struct JsonLimits {
  size_t max_bytes = size_t{256} << 20;
  int max_depth = 64;
};

// Parses `text`; `name` is the file for messages. Throws Error on invalid UTF-8 or JSON, duplicate
// keys of one object, too deep nesting, or too many bytes.
Json ParseJson(std::string_view text, const std::string& name, const JsonLimits& limits = {});
OrderedJson ParseOrderedJson(std::string_view text, const std::string& name,
                             const JsonLimits& limits = {});

// Reads the whole file and parses it. Throws Error also when it cannot be read.
Json ReadJsonFile(const std::string& path, const JsonLimits& limits = {});

// The object's member as an integer within [min, max], a number, a string, a bool; `fallback` where
// the key is absent or null. Throws Error("{name}: {key} is {found} but must be ...") for another
// type or range.
int64_t JsonInt(const Json& object, const char* key, int64_t fallback, int64_t min, int64_t max,
                const std::string& name);
double JsonNumber(const Json& object, const char* key, double fallback, const std::string& name);
std::string JsonString(const Json& object, const char* key, const std::string& fallback,
                       const std::string& name);
bool JsonBool(const Json& object, const char* key, bool fallback, const std::string& name);

}  // namespace cadre
