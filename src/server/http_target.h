// What a request asks for, out of its request line: the path decoded, the query as it is.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace cadre {

struct HttpTarget {
  std::string path;   // decoded, one trailing slash removed; "*" of OPTIONS
  std::string query;  // behind the first '?', not decoded
};

// Reads "/path?query" or "http://host/path?query". Nothing for a target that is neither, has an
// invalid escape, or decodes to control characters or invalid UTF-8.
std::optional<HttpTarget> ParseTarget(std::string_view target);

// %XX decoded; nothing when an escape is invalid. '+' stays '+'.
std::optional<std::string> PercentDecode(std::string_view text);

// The name in "name:port", "name", "[::1]:port": in lower case, an IPv6 address in its brackets.
std::string HostName(std::string_view host);

}  // namespace cadre
