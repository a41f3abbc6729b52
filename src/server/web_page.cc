#include "server/web_page.h"

#include <algorithm>
#include <string>

#include "server/web_files.h"

namespace cadre {
namespace {

// Nothing but files of this server, no inline script or style, no text turned into markup.
constexpr std::string_view kContentSecurityPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'";
constexpr std::string_view kPermissions =
    "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), "
    "microphone=(), payment=(), usb=()";

}  // namespace

std::optional<HttpResponse> FindWebFile(std::string_view path, std::string_view if_none_match) {
  const std::string_view name = path.empty() || path == "/" ? "/index.html" : path;
  const auto files = WebFiles();
  const auto file = std::ranges::lower_bound(files, name, {}, &EmbeddedFile::path);
  if (file == files.end() || file->path != name) return std::nullopt;
  const std::string tag = "\"" + std::string(file->sha256.substr(0, 32)) + "\"";
  // A list of tags, weak or not, or *: quotes stand only around tags, so that a search is exact.
  const bool is_known = if_none_match == "*" || if_none_match.find(tag) != std::string_view::npos;
  return HttpResponse{.status = is_known ? 304 : 200,
                      .content_type = is_known ? "" : std::string(file->content_type),
                      .body = is_known ? "" : std::string(file->bytes),
                      .headers = {
                          {"Cache-Control", "no-cache"},
                          {"ETag", tag},
                          {"Content-Security-Policy", std::string(kContentSecurityPolicy)},
                          {"X-Content-Type-Options", "nosniff"},
                          {"X-Frame-Options", "DENY"},
                          {"Referrer-Policy", "no-referrer"},
                          {"Cross-Origin-Opener-Policy", "same-origin"},
                          {"Cross-Origin-Resource-Policy", "same-origin"},
                          {"Permissions-Policy", std::string(kPermissions)},
                      }};
}

}  // namespace cadre
