// The status line and header of an answer, as bytes.
#pragma once

#include <cstddef>
#include <string>

#include "server/http.h"

namespace cadre {

// How a client finds the end of an answer.
enum class HttpFraming {
  kLength,   // Content-Length, of the body given
  kChunked,  // pieces that say their length
  kClose,    // the end of the connection: streams of HTTP/1.0
  kNone,     // there is no body and no word of it: 204, 304
};

struct HttpHeadOptions {
  HttpFraming framing = HttpFraming::kLength;
  bool http11 = true;
  bool keep_alive = true;
  std::string request_id = {};
};

// Appends "HTTP/1.1 200 OK" and the lines of the header, without the blank one that ends it. Line
// ends in what `response` says become spaces.
void AppendHttpHead(const HttpResponse& response, const HttpHeadOptions& options, std::string& out);

// Whether an answer of this status never has a body.
bool HasNoBody(int status);

}  // namespace cadre
