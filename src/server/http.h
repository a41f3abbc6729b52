// The wire between transport and API: a request as it arrived, and a way to answer it once, whole
// or as a stream. The API knows nothing of sockets, the transport nothing of models.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cadre {

struct HttpRequest {
  std::string method;  // upper case
  std::string path;    // percent-decoded, without query, one trailing slash removed
  std::string query;
  std::string content_type;  // lower case, without parameters
  std::string accept;
  std::string if_none_match;
  std::string body;
  std::string request_id;  // the client's X-Request-Id where it is sane, else made here
  std::string client;      // address and port, for the log
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";
  std::string body = {};
  std::vector<std::pair<std::string, std::string>> headers = {};
};

// The way back to one client. Every method may be called on any thread; what is called after the
// client has gone, or after the answer is complete, does nothing. Exactly one of Respond or
// StartStream answers a request.
class HttpReply {
 public:
  virtual ~HttpReply() = default;
  virtual void Respond(HttpResponse response) = 0;
  // Status line and headers of a chunked answer; then pieces; then the end of it.
  virtual void StartStream(HttpResponse head) = 0;
  virtual void Write(std::string piece) = 0;
  virtual void Finish() = 0;
  // Bytes given to Write that the client has not taken yet.
  virtual size_t unsent_bytes() const = 0;
  // Called once, on a thread of the transport, when the client goes before the answer is complete.
  // Set it before anything else; it is dropped when the answer is complete.
  virtual void OnGone(std::function<void()> gone) = 0;
  // Called on a thread of the transport each time unsent bytes fall below `bytes` after having been
  // above.
  virtual void OnDrained(size_t bytes, std::function<void()> drained) = 0;
};

// Called on a thread of the transport when a whole request is there; must not block. What it throws
// becomes a 500 to this client alone.
using HttpHandler = std::function<void(HttpRequest request, std::shared_ptr<HttpReply> reply)>;

}  // namespace cadre
