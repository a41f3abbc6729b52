// The web page of the server: its files, answered from memory with the headers that keep a browser
// from fetching, running or embedding anything else. It refuses to look at the disk: a path is the
// name of an embedded file, or nothing.
#pragma once

#include <optional>
#include <string_view>

#include "server/http.h"

namespace cadre {

// The answer to GET `path` ("/" is the page itself), or nothing where no file has that name. The
// path is as HttpRequest has it: decoded, without query. An answer carries an ETag made of the
// file's SHA-256 and asks the browser to revalidate, so that a page never outlives its server;
// where the request's If-None-Match names that tag it is 304 without the file.
std::optional<HttpResponse> FindWebFile(std::string_view path, std::string_view if_none_match = {});

}  // namespace cadre
