#include "server/api_error.h"

#include "server/error_body.h"

namespace cadre {

ApiError::ApiError(int status, const std::string& message, std::string param, std::string code)
    : Error("{}", message), status_(status), param_(std::move(param)), code_(std::move(code)) {}

HttpResponse ApiError::Response() const {
  return ErrorResponse(status_, what(), "", param_, code_);
}

std::string ApiError::Body() const { return ErrorBody(status_, what(), "", param_, code_); }

}  // namespace cadre
