// The shapes of requests and answers, as JSON schemas for the OpenAPI document.
#pragma once

#include "base/json.h"

namespace cadre {

// components.schemas
OrderedJson OpenApiSchemas();

}  // namespace cadre
