// A request that cannot be answered, as an exception for its client's eyes: status, the field at
// fault and a word for programs. Carries no detail of this machine.
#pragma once

#include <string>

#include "base/error.h"
#include "server/http.h"

namespace cadre {

class ApiError : public Error {
 public:
  // `param`: the field as a path with dots, `code`: a word for programs; either may be empty.
  ApiError(int status, const std::string& message, std::string param = "", std::string code = "");

  int status() const { return status_; }
  const std::string& param() const { return param_; }
  const std::string& code() const { return code_; }

  HttpResponse Response() const;
  // The event of a stream that ends early.
  std::string Body() const;

 private:
  int status_;
  std::string param_;
  std::string code_;
};

}  // namespace cadre
