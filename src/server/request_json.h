// The body of a request as JSON, before anything is believed of it: bounded in depth, in values and
// in the work of building it. Unpaired surrogate escapes become U+FFFD. Refuses what is not one
// JSON object in UTF-8, and keys that occur twice.
#pragma once

#include <string_view>

#include "base/json.h"

namespace cadre {

// Throws ApiError: 400 for what is no JSON, 422 for JSON that is no object.
OrderedJson ParseRequestJson(std::string_view body);

}  // namespace cadre
