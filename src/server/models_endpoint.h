// GET /v1/models and /v1/models/{id}: the one model that is served, under its id and its aliases,
// in the fields of both dialects and with what Cadre's own page wants to know.
#pragma once

#include "base/json.h"
#include "server/api_config.h"

namespace cadre {

// {"object":"list","data":[...]}: the model's card under its id and again under each alias.
OrderedJson ModelList(const ApiConfig& config);
// Throws ApiError (404) for a name that is not served.
OrderedJson ModelCard(const ApiConfig& config, const std::string& name);

}  // namespace cadre
