#include "base/json.h"

#include <unordered_set>
#include <vector>

#include "base/error.h"
#include "base/mapped_file.h"

namespace cadre {
namespace {

std::string Shown(const Json& value) {
  return Printable(value.dump(-1, ' ', true, Json::error_handler_t::replace), 60);
}

// Builds the value with nlohmann's own builder, after a look at keys and depth.
template <typename J>
J Parse(std::string_view text, const std::string& name, const JsonLimits& limits) {
  if (text.size() > limits.max_bytes) {
    throw Error("{}: {} bytes of JSON, more than the {} allowed", name, text.size(),
                limits.max_bytes);
  }
  // nlohmann stops at a NUL byte and would call what stands before it the whole text.
  if (text.find('\0') != std::string_view::npos)
    throw Error("{}: not valid JSON: holds a NUL byte", name);
  std::vector<std::unordered_set<std::string>> open_objects;
  const auto watch = [&](int depth, typename J::parse_event_t event, J& parsed) {
    if (depth > limits.max_depth)
      throw Error("{}: JSON nested deeper than {}", name, limits.max_depth);
    using Event = typename J::parse_event_t;
    if (event == Event::object_start) open_objects.emplace_back();
    if (event == Event::object_end) open_objects.pop_back();
    if (event == Event::key) {
      const auto& key = parsed.template get_ref<const std::string&>();
      if (!open_objects.back().insert(key).second) {
        throw Error("{}: JSON key '{}' occurs twice in one object", name, Printable(key));
      }
    }
    return true;
  };
  try {
    return J::parse(text.begin(), text.end(), watch);
  } catch (const nlohmann::json::exception& error) {
    throw Error("{}: not valid JSON: {}", name, Printable(error.what(), 200));
  }
}

}  // namespace

Json ParseJson(std::string_view text, const std::string& name, const JsonLimits& limits) {
  return Parse<Json>(text, name, limits);
}

OrderedJson ParseOrderedJson(std::string_view text, const std::string& name,
                             const JsonLimits& limits) {
  return Parse<OrderedJson>(text, name, limits);
}

Json ReadJsonFile(const std::string& path, const JsonLimits& limits) {
  const MappedFile file(path);
  return ParseJson(file.text(), path, limits);
}

int64_t JsonInt(const Json& object, const char* key, int64_t fallback, int64_t min, int64_t max,
                const std::string& name) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return fallback;
  const bool too_large =
      found->is_number_unsigned() && found->get<uint64_t>() > uint64_t{INT64_MAX};
  if (!found->is_number_integer() || too_large || found->get<int64_t>() < min ||
      found->get<int64_t>() > max) {
    throw Error("{}: {} is {} but must be an integer from {} to {}", name, key, Shown(*found), min,
                max);
  }
  return found->get<int64_t>();
}

double JsonNumber(const Json& object, const char* key, double fallback, const std::string& name) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return fallback;
  if (!found->is_number())
    throw Error("{}: {} is {} but must be a number", name, key, Shown(*found));
  return found->get<double>();
}

std::string JsonString(const Json& object, const char* key, const std::string& fallback,
                       const std::string& name) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return fallback;
  if (!found->is_string())
    throw Error("{}: {} is {} but must be a string", name, key, Shown(*found));
  return found->get<std::string>();
}

bool JsonBool(const Json& object, const char* key, bool fallback, const std::string& name) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return fallback;
  if (!found->is_boolean())
    throw Error("{}: {} is {} but must be true or false", name, key, Shown(*found));
  return found->get<bool>();
}

}  // namespace cadre
