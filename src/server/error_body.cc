#include "server/error_body.h"

#include <algorithm>

#include "base/json.h"

namespace cadre {
namespace {

std::string_view UsualType(int status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
      return "not_found_error";
    case 429:
      return "rate_limit_error";
    default:
      return status >= 500 ? "server_error" : "invalid_request_error";
  }
}

OrderedJson TextOrNull(std::string_view text) {
  return text.empty() ? OrderedJson(nullptr) : OrderedJson(text);
}

// "messages.0.content" -> ["body", "messages", 0, "content"]
OrderedJson Location(std::string_view param) {
  OrderedJson location = {"body"};
  while (!param.empty()) {
    const size_t dot = param.find('.');
    const std::string_view part = param.substr(0, dot);
    const bool index =
        !part.empty() && part.size() < 10 &&
        std::all_of(part.begin(), part.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (index) {
      location.push_back(std::stoi(std::string(part)));
    } else {
      location.push_back(part);
    }
    param.remove_prefix(dot == std::string_view::npos ? param.size() : dot + 1);
  }
  return location;
}

}  // namespace

std::string ErrorBody(int status, std::string_view message, std::string_view type,
                      std::string_view param, std::string_view code) {
  OrderedJson error = {{"message", message},
                       {"type", type.empty() ? UsualType(status) : type},
                       {"param", TextOrNull(param)},
                       {"code", TextOrNull(code)}};
  OrderedJson body = {{"object", "error"}};
  body.update(error);
  body["error"] = std::move(error);
  if (status == 422) {
    body["detail"] = OrderedJson::array({{{"loc", Location(param)},
                                          {"msg", message},
                                          {"type", code.empty() ? "value_error" : code}}});
  }
  return body.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
}

HttpResponse ErrorResponse(int status, std::string_view message, std::string_view type,
                           std::string_view param, std::string_view code) {
  HttpResponse response{.status = status, .body = ErrorBody(status, message, type, param, code)};
  if (status == 429 || status == 503) response.headers.emplace_back("Retry-After", "1");
  return response;
}

}  // namespace cadre
