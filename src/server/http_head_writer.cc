#include "server/http_head_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/beast/http/status.hpp>
#include <ctime>
#include <iterator>
#include <string_view>

namespace cadre {
namespace {

void AppendField(std::string_view name, std::string_view value, std::string& out) {
  out.append(name).append(": ");
  std::transform(value.begin(), value.end(), std::back_inserter(out),
                 [](char c) { return c == '\r' || c == '\n' || c == '\0' ? ' ' : c; });
  out += "\r\n";
}

// "Sun, 06 Nov 1994 08:49:37 GMT", made anew once a second.
const std::string& Date() {
  thread_local std::time_t made_at = -1;
  thread_local std::string date;
  const std::time_t now = std::time(nullptr);
  if (now != made_at) {
    std::tm parts;
    gmtime_r(&now, &parts);
    char text[64];
    date.assign(text, std::strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &parts));
    made_at = now;
  }
  return date;
}

std::string_view Reason(int status) {
  const auto reason =
      boost::beast::http::obsolete_reason(static_cast<boost::beast::http::status>(status));
  return {reason.data(), reason.size()};
}

}  // namespace

bool HasNoBody(int status) { return status / 100 == 1 || status == 204 || status == 304; }

void AppendHttpHead(const HttpResponse& response, const HttpHeadOptions& options,
                    std::string& out) {
  // Said in the server's own version, whatever the client's (RFC 9110, 6.2).
  fmt::format_to(std::back_inserter(out), "HTTP/1.1 {} {}\r\n", response.status,
                 Reason(response.status));
  AppendField("Server", "cadre", out);
  AppendField("Date", Date(), out);
  if (!options.request_id.empty()) AppendField("X-Request-Id", options.request_id, out);
  if (!response.content_type.empty()) AppendField("Content-Type", response.content_type, out);
  for (const auto& [name, value] : response.headers) AppendField(name, value, out);
  if (options.framing == HttpFraming::kLength) {
    fmt::format_to(std::back_inserter(out), "Content-Length: {}\r\n", response.body.size());
  } else if (options.framing == HttpFraming::kChunked) {
    out += "Transfer-Encoding: chunked\r\n";
  }
  if (!options.keep_alive) {
    out += "Connection: close\r\n";
  } else if (!options.http11) {
    out += "Connection: keep-alive\r\n";
  }
}

}  // namespace cadre
