// Typed access to the fields of a JSON object from outside. What is absent or null is absent; what
// has another type or range throws a 422 that names it. Fields that nobody asked for can be listed.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "server/api_error.h"

namespace cadre {

class Fields {
 public:
  // `path` leads to the object: "messages.0"; empty: the body. The object must outlive this. Throws
  // ApiError (422) when it is no object.
  explicit Fields(const OrderedJson& object, std::string path = "");

  // The value; nothing when absent or null.
  const OrderedJson* Find(const char* name);
  std::optional<bool> Bool(const char* name);
  std::optional<std::string> String(const char* name);
  std::optional<double> Number(const char* name, double min, double max);
  // A number without fraction, so 5.0 too.
  std::optional<int64_t> Integer(const char* name, int64_t min, int64_t max);
  std::string RequiredString(const char* name);
  const OrderedJson& Required(const char* name);

  [[noreturn]] void Fail(const char* name, const std::string& msg, const char* type) const;
  std::string PathOf(const std::string& name) const;

  // Names of the fields that no call has asked for.
  std::vector<std::string> Unknown() const;

 private:
  const OrderedJson* object_;
  std::string path_;
  std::vector<std::string> known_;
};

// The 422 for the field at `path`; the message begins with the path.
ApiError InvalidField(const std::string& path, const std::string& msg, const char* type);

// "'text'", "12", "an array": what was found, for messages.
std::string Shown(const OrderedJson& value);

}  // namespace cadre
