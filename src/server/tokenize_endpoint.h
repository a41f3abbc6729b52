// POST /tokenize and /detokenize: texts and conversations to ids and back, exactly as the other
// endpoints do it.
#pragma once

#include "base/json.h"
#include "server/api_config.h"

namespace cadre {

// {"prompt"} (BOS in front), {"content"} (none) or {"messages", "tools"}, as different servers ask
// it; add_special_tokens or add_special decides otherwise, with_pieces adds the pieces. Throws
// ApiError.
OrderedJson Tokenize(const OrderedJson& body, const ApiConfig& config);

// {"tokens"} to {"prompt", "content"}. Throws ApiError.
OrderedJson Detokenize(const OrderedJson& body, const ApiConfig& config);

}  // namespace cadre
