// Who may ask: keys, the name this server was called by, and the web pages that call it. Knows
// headers only, no sockets.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/api_keys.h"
#include "server/http.h"
#include "server/http_config.h"
#include "server/http_request_parser.h"

namespace cadre {

class HttpAccess {
 public:
  // `loopback`: only this machine can reach the server. Reads the file of keys. Throws Error when
  // other machines can reach it, there are no keys and the config does not say `insecure`.
  HttpAccess(const HttpServerConfig& config, bool loopback);

  // The answer that ends a request before anything reads its body: 401 without a key (but for GET
  // /health), 403 under a foreign name (only where there are no keys: a page may have pointed its
  // own name to this machine), 403 for a page of another origin that would change something, 204
  // for the preflight of an allowed one. Nothing: go on.
  std::optional<HttpResponse> Answer(const HttpHead& head, std::string_view path) const;

  // Lines "Name: value\r\n" that let an allowed page read the answer.
  void AppendHeaders(const HttpHead& head, std::string& out) const;

 private:
  bool IsAllowedOrigin(std::string_view origin) const;
  bool IsForeignName(const HttpHead& head) const;
  bool IsForeignPage(const HttpHead& head) const;
  HttpResponse Preflight(const HttpHead& head) const;

  ApiKeys keys_;
  bool checks_name_;
  std::string own_name_;
  std::vector<std::string> allow_origins_;
};

}  // namespace cadre
