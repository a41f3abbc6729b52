// What an error says to a client: one JSON body in which the clients of both dialects find theirs,
// OpenAI's under "error", Mistral's beside it.
#pragma once

#include <string>
#include <string_view>

#include "server/http.h"

namespace cadre {

// `type`: the category; empty: the usual one of the status (invalid_request_error,
// authentication_error, permission_error, not_found_error, rate_limit_error, server_error).
// `param`: the field at fault, as a path with dots ("messages.0.content"); empty: null.
// `code`: a word for programs ("model_not_found"); empty: null.
// With 422 there is also "detail", the list of {loc, msg, type} that Mistral's clients read. Bytes
// of `message` that are no UTF-8 become U+FFFD; the body always is valid JSON.
std::string ErrorBody(int status, std::string_view message, std::string_view type = {},
                      std::string_view param = {}, std::string_view code = {});

// The whole answer with that body; 429 and 503 say Retry-After: 1.
HttpResponse ErrorResponse(int status, std::string_view message, std::string_view type = {},
                           std::string_view param = {}, std::string_view code = {});

}  // namespace cadre
