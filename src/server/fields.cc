#include "server/fields.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace cadre {
namespace {

std::optional<int64_t> AsInteger(const OrderedJson& value) {
  if (value.is_number_unsigned()) {
    const auto number = value.get<uint64_t>();
    if (number > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return std::nullopt;
    return static_cast<int64_t>(number);
  }
  if (value.is_number_integer()) return value.get<int64_t>();
  if (!value.is_number_float()) return std::nullopt;
  const auto number = value.get<double>();
  if (std::trunc(number) != number || std::abs(number) > 9007199254740992.0) return std::nullopt;
  return static_cast<int64_t>(number);
}

}  // namespace

std::string Shown(const OrderedJson& value) {
  if (value.is_array()) return "an array";
  if (value.is_object()) return "an object";
  return Printable(value.dump(-1, ' ', false, OrderedJson::error_handler_t::replace), 60);
}

ApiError InvalidField(const std::string& path, const std::string& msg, const char* type) {
  return {422, path + " " + msg, path, type};
}

Fields::Fields(const OrderedJson& object, std::string path)
    : object_(&object), path_(std::move(path)) {
  if (!object.is_object()) {
    throw InvalidField(path_, fmt::format("is {} but must be an object", Shown(object)),
                       "model_attributes_type");
  }
}

const OrderedJson* Fields::Find(const char* name) {
  known_.emplace_back(name);
  const auto found = object_->find(name);
  return found == object_->end() || found->is_null() ? nullptr : &*found;
}

std::string Fields::PathOf(const std::string& name) const {
  return path_.empty() ? name : path_ + "." + name;
}

void Fields::Fail(const char* name, const std::string& msg, const char* type) const {
  throw InvalidField(PathOf(name), msg, type);
}

std::optional<bool> Fields::Bool(const char* name) {
  const OrderedJson* value = Find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_boolean())
    Fail(name, fmt::format("is {} but must be true or false", Shown(*value)), "bool_type");
  return value->get<bool>();
}

std::optional<std::string> Fields::String(const char* name) {
  const OrderedJson* value = Find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string())
    Fail(name, fmt::format("is {} but must be a string", Shown(*value)), "string_type");
  return value->get<std::string>();
}

std::optional<double> Fields::Number(const char* name, double min, double max) {
  const OrderedJson* value = Find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number())
    Fail(name, fmt::format("is {} but must be a number", Shown(*value)), "float_type");
  const auto number = value->get<double>();
  if (!(number >= min && number <= max)) {
    Fail(name, fmt::format("is {} but must be from {} to {}", Shown(*value), min, max),
         number > max ? "less_than_equal" : "greater_than_equal");
  }
  return number;
}

std::optional<int64_t> Fields::Integer(const char* name, int64_t min, int64_t max) {
  const OrderedJson* value = Find(name);
  if (value == nullptr) return std::nullopt;
  const std::optional<int64_t> number = AsInteger(*value);
  if (!number) Fail(name, fmt::format("is {} but must be an integer", Shown(*value)), "int_type");
  if (*number < min || *number > max) {
    Fail(name, fmt::format("is {} but must be from {} to {}", Shown(*value), min, max),
         *number > max ? "less_than_equal" : "greater_than_equal");
  }
  return number;
}

const OrderedJson& Fields::Required(const char* name) {
  const OrderedJson* value = Find(name);
  if (value == nullptr) Fail(name, "is missing", "missing");
  return *value;
}

std::string Fields::RequiredString(const char* name) {
  Required(name);
  return *String(name);
}

std::vector<std::string> Fields::Unknown() const {
  std::vector<std::string> unknown;
  for (const auto& [name, value] : object_->items()) {
    if (std::ranges::find(known_, name) == known_.end()) unknown.push_back(name);
  }
  return unknown;
}

}  // namespace cadre
