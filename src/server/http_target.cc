#include "server/http_target.h"

#include <algorithm>

#include "text/utf8.h"

namespace cadre {
namespace {

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool IsControl(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

// The absolute form, as proxies send it, without scheme and host.
std::string_view WithoutOrigin(std::string_view target) {
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (!target.starts_with(scheme)) continue;
    const size_t end = target.find_first_of("/?", scheme.size());
    return end == std::string_view::npos ? "/" : target.substr(end);
  }
  return target;
}

}  // namespace

std::optional<std::string> PercentDecode(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out.push_back(text[i]);
      continue;
    }
    if (i + 2 >= text.size()) return std::nullopt;
    const int high = HexDigit(text[i + 1]);
    const int low = HexDigit(text[i + 2]);
    if (high < 0 || low < 0) return std::nullopt;
    out.push_back(static_cast<char>(high * 16 + low));
    i += 2;
  }
  return out;
}

std::optional<HttpTarget> ParseTarget(std::string_view target) {
  target = WithoutOrigin(target);
  HttpTarget parsed;
  const size_t question = target.find('?');
  if (question != std::string_view::npos) parsed.query = target.substr(question + 1);
  std::optional<std::string> path = PercentDecode(target.substr(0, question));
  if (!path) return std::nullopt;
  if (path->empty() && question == 0) path = "/";  // http://host?query
  if (*path != "*" && !path->starts_with('/')) return std::nullopt;
  if (std::any_of(path->begin(), path->end(), IsControl) || !IsValidUtf8(*path)) {
    return std::nullopt;
  }
  if (path->size() > 1 && path->ends_with('/')) path->pop_back();
  parsed.path = std::move(*path);
  return parsed;
}

std::string HostName(std::string_view host) {
  const size_t end = host.starts_with('[') ? host.find(']') : host.find(':');
  if (end != std::string_view::npos) host = host.substr(0, host[end] == ']' ? end + 1 : end);
  std::string name(host);
  std::transform(name.begin(), name.end(), name.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return name;
}

}  // namespace cadre
