// JSON text respelt the way Python's json.dumps(value, ensure_ascii=False) spells it: instruct
// models were trained on exactly that, so tools, arguments and results must reach them so. Works on
// the text, hence linear in time and exact for big integers.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace cadre {

// `text` as a JSON string with its quotes.
std::string PythonJsonString(std::string_view text);

// The respelt text, key order kept; nothing when `text` is not one JSON value (NaN, duplicate keys
// and more than 64 levels count as not JSON).
std::optional<std::string> PythonJson(std::string_view text);

}  // namespace cadre
