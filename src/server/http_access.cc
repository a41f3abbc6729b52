#include "server/http_access.h"

#include <algorithm>

#include "base/error.h"
#include "server/error_body.h"
#include "server/http_target.h"

namespace cadre {
namespace {

bool IsSafe(const std::string& method) {
  return method == "GET" || method == "HEAD" || method == "OPTIONS";
}

HttpResponse Unauthorized(const HttpHead& head) {
  const bool key_given = !head.authorization.empty();
  HttpResponse response =
      ErrorResponse(401,
                    key_given ? "this API key is not known here"
                              : "an API key is needed: Authorization: Bearer KEY",
                    "", "", "invalid_api_key");
  // A browser then asks its user, and sends the key as password with all that the page does.
  const bool page = IsSafe(head.method) && head.accept.find("text/html") != std::string::npos;
  response.headers.emplace_back(
      "WWW-Authenticate", page ? "Basic realm=\"cadre: the API key as password\", charset=\"UTF-8\""
                               : "Bearer realm=\"cadre\"");
  return response;
}

}  // namespace

HttpAccess::HttpAccess(const HttpServerConfig& config, bool loopback)
    : keys_(config.api_key_file.empty() ? ApiKeys() : ApiKeys::Read(config.api_key_file)),
      checks_name_(loopback && keys_.empty()),
      own_name_(HostName(config.host)),
      allow_origins_(config.allow_origins) {
  if (!loopback && keys_.empty() && !config.insecure) {
    throw Error(
        "--host {} lets other machines in, without any key: expected --api-key-file FILE, or "
        "--insecure to let everyone in",
        Printable(config.host));
  }
}

std::optional<HttpResponse> HttpAccess::Answer(const HttpHead& head, std::string_view path) const {
  if (checks_name_ && IsForeignName(head)) {
    return ErrorResponse(403, fmt::format("the Host header says '{}', but without API keys this "
                                          "server answers only to localhost",
                                          Printable(head.host)));
  }
  if (head.method == "OPTIONS" && !head.preflight_method.empty() && IsAllowedOrigin(head.origin)) {
    return Preflight(head);
  }
  if (!IsSafe(head.method) && IsForeignPage(head)) {
    return ErrorResponse(403, fmt::format("a web page of '{}' may not call this server: start it "
                                          "with --allow-origin to let it",
                                          Printable(head.origin)));
  }
  if (keys_.empty() || (path == "/health" && (head.method == "GET" || head.method == "HEAD")) ||
      keys_.Admits(head.authorization)) {
    return std::nullopt;
  }
  return Unauthorized(head);
}

void HttpAccess::AppendHeaders(const HttpHead& head, std::string& out) const {
  if (allow_origins_.empty()) return;
  out += "Vary: Origin\r\n";
  if (!IsAllowedOrigin(head.origin)) return;
  out += fmt::format(
      "Access-Control-Allow-Origin: {}\r\nAccess-Control-Expose-Headers: X-Request-Id, "
      "Retry-After\r\n",
      head.origin);
}

bool HttpAccess::IsAllowedOrigin(std::string_view origin) const {
  return !origin.empty() &&
         std::any_of(allow_origins_.begin(), allow_origins_.end(), [&](const std::string& allowed) {
           return allowed == "*" || allowed == origin;
         });
}

bool HttpAccess::IsForeignName(const HttpHead& head) const {
  if (head.host.empty()) return false;  // of HTTP/1.0: no browser
  const std::string name = HostName(head.host);
  return name != "localhost" && name != "127.0.0.1" && name != "[::1]" && name != own_name_ &&
         name != "[" + own_name_ + "]";
}

bool HttpAccess::IsForeignPage(const HttpHead& head) const {
  if (IsAllowedOrigin(head.origin)) return false;
  if (!head.fetch_site.empty())
    return head.fetch_site != "same-origin" && head.fetch_site != "none";
  if (head.origin.empty()) return false;  // no browser
  const size_t scheme = head.origin.find("://");
  return scheme == std::string::npos || head.origin.substr(scheme + 3) != head.host;
}

HttpResponse HttpAccess::Preflight(const HttpHead& head) const {
  HttpResponse response{.status = 204, .content_type = "", .body = ""};
  response.headers = {{"Access-Control-Allow-Methods", "GET, POST, DELETE, OPTIONS"},
                      {"Access-Control-Max-Age", "600"}};
  if (!head.preflight_headers.empty()) {
    response.headers.emplace_back("Access-Control-Allow-Headers", head.preflight_headers);
  }
  return response;
}

}  // namespace cadre
