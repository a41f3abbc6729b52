// GET /openapi.json: what there is, as an OpenAPI 3.1 document.
#pragma once

#include "base/json.h"
#include "server/api_config.h"

namespace cadre {

OrderedJson OpenApiDocument(const ApiConfig& config);

}  // namespace cadre
