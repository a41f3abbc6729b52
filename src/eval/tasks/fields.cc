#include "eval/tasks/fields.h"

#include <charconv>

#include "base/error.h"
#include "eval/tasks/python_text.h"

namespace cadre {
namespace {

std::vector<std::string> Parts(std::string_view text) {
  std::vector<std::string> parts;
  while (true) {
    const size_t end = std::min(text.find(';'), text.size());
    const std::string_view part = Strip(text.substr(0, end));
    if (!part.empty()) parts.emplace_back(part);
    if (end == text.size()) return parts;
    text.remove_prefix(end + 1);
  }
}

}  // namespace

Fields::Fields(const Json& value, const std::string& name) : value_(value), name_(name) {
  if (!value.is_object()) throw Error("{}: is no JSON object", name);
}

bool Fields::Has(const char* key) const {
  const auto found = value_.find(key);
  return found != value_.end() && !found->is_null();
}

const Json& Fields::Value(const char* key) const {
  const auto found = value_.find(key);
  if (found == value_.end()) throw Error("{}: has no member \"{}\"", name_, key);
  return *found;
}

void Fields::Fail(const char* key, const char* expected) const {
  const auto shown = Value(key).dump(-1, ' ', true, Json::error_handler_t::replace);
  throw Error("{}: {} is {} but must be {}", name_, key, Printable(shown, 60), expected);
}

std::string Fields::Text(const char* key) const {
  if (!Value(key).is_string()) Fail(key, "a string");
  return Value(key).get<std::string>();
}

std::string Fields::TextOr(const char* key, const std::string& fallback) const {
  if (!Has(key)) return fallback;
  if (Value(key).is_number()) return Value(key).dump();
  return Text(key);
}

std::vector<std::string> Fields::Texts(const char* key, size_t least) const {
  const Json& list = Value(key);
  if (!list.is_array() || list.size() < least) {
    throw Error("{}: {} must be a list of {} or more strings", name_, key, least);
  }
  std::vector<std::string> texts;
  for (const auto& text : list) {
    if (!text.is_string()) Fail(key, "a list of strings");
    texts.push_back(text.get<std::string>());
  }
  return texts;
}

std::vector<std::string> Fields::TextsOrList(const char* key) const {
  if (Value(key).is_string()) return Parts(Text(key));
  std::vector<std::string> texts = Texts(key, 0);
  std::erase_if(texts, [](const std::string& text) { return Strip(text).empty(); });
  return texts;
}

Fields Fields::Object(const char* key) const {
  if (!Value(key).is_object()) Fail(key, "an object");
  return {Value(key), name_};
}

int64_t Fields::Number(const char* key, int64_t min, int64_t max) const {
  const Json& value = Value(key);
  int64_t number = min - 1;
  if (value.is_boolean()) {
    number = value.get<bool>() ? 1 : 0;
  } else if (value.is_number_unsigned() && value.get<uint64_t>() > uint64_t{INT64_MAX}) {
    number = min - 1;
  } else if (value.is_number_integer()) {
    number = value.get<int64_t>();
  } else if (value.is_string()) {
    const auto text = value.get<std::string>();
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size()) number = min - 1;
  }
  if (number < min || number > max)
    Fail(key, fmt::format("a whole number from {} to {}", min, max).c_str());
  return number;
}

}  // namespace cadre
