// The JSON types by name only, for headers: nlohmann's full header is slow to compile. Use
// base/json.h where values are touched.
#pragma once

#include <nlohmann/json_fwd.hpp>

namespace cadre {

using Json = nlohmann::json;
using OrderedJson = nlohmann::ordered_json;  // keeps key order

}  // namespace cadre
