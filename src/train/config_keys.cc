#include "train/config_keys.h"

#include <set>

namespace cadre {
namespace {

Json Member(const Json& value) { return Json{{"value", value}}; }

// Nested objects become dotted keys, except below a key that takes an object.
void Flatten(const Json& json, const std::string& prefix, const std::set<std::string>& known,
             Json& flat) {
  for (const auto& [key, value] : json.items()) {
    const std::string name = prefix + key;
    if (value.is_object() && !known.contains(name)) {
      Flatten(value, name + ".", known, flat);
    } else {
      flat[name] = value;
    }
  }
}

void Override(const std::string& setting, Json& flat) {
  const size_t equals = setting.find('=');
  if (equals == std::string::npos) throw Error("--set {}: must be key=value", Printable(setting));
  const std::string value = setting.substr(equals + 1);
  Json parsed = Json::parse(value, nullptr, false);
  flat[setting.substr(0, equals)] = parsed.is_discarded() ? Json(value) : std::move(parsed);
}

}  // namespace

ConfigReader IntegerKey(int64_t& field, int64_t min, int64_t max) {
  return [&field, min, max](const Json& value, const std::string& where) {
    field = JsonInt(Member(value), "value", field, min, max, where);
  };
}

ConfigReader TextKey(std::string& field) {
  return [&field](const Json& value, const std::string& where) {
    field = JsonString(Member(value), "value", field, where);
  };
}

ConfigReader BoolKey(bool& field) {
  return [&field](const Json& value, const std::string& where) {
    field = JsonBool(Member(value), "value", field, where);
  };
}

ConfigReader WordKey(std::vector<std::pair<std::string, std::function<void()>>> words) {
  return [words = std::move(words)](const Json& value, const std::string& where) {
    std::string list;
    for (const auto& [word, choose] : words) {
      if (value == word) return choose();
      list += (list.empty() ? "\"" : "\" or \"") + word;
    }
    throw Error("{}: is {} but must be {}\"", where,
                Printable(value.dump(-1, ' ', true, Json::error_handler_t::replace)), list);
  };
}

std::vector<std::string> StringsOf(const Json& value, const std::string& where) {
  std::vector<std::string> names;
  if (!value.is_array()) throw Error("{}: must be a list of strings", where);
  for (const auto& element : value) {
    if (!element.is_string()) throw Error("{}: must be a list of strings", where);
    names.push_back(element.get<std::string>());
  }
  return names;
}

std::string ReadConfig(const std::vector<ConfigKey>& keys, const Json& json,
                       const std::vector<std::string>& settings, const std::string& name,
                       const char* help, std::string* given) {
  if (!json.is_object()) throw Error("{}: must hold a JSON object", name);
  std::set<std::string> known;
  for (const auto& key : keys) known.insert(key.name);
  Json flat = Json::object();
  Flatten(json, "", known, flat);
  for (const auto& setting : settings) Override(setting, flat);
  for (const auto& [key, value] : flat.items()) {
    if (!known.contains(key))
      throw Error("{}: unknown key '{}' ({} lists all)", name, Printable(key), help);
  }
  Json shaping = Json::object();
  for (const auto& key : keys) {
    const auto found = flat.find(key.name);
    if (found == flat.end()) continue;
    key.read(*found, fmt::format("{}: {}", name, key.name));
    if (key.is_fixed) shaping[key.name] = *found;
  }
  if (given != nullptr) *given = flat.dump(-1, ' ', false, Json::error_handler_t::replace);
  return shaping.dump();
}

std::vector<std::pair<std::string, std::string>> Documented(const std::vector<ConfigKey>& keys) {
  std::vector<std::pair<std::string, std::string>> documented;
  for (const auto& key : keys) documented.emplace_back(key.name, key.doc);
  return documented;
}

}  // namespace cadre
