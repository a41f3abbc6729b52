// HTTP/1.1 (and 1.0) on a few threads for thousands of connections: listens, reads requests, hands
// them to a handler and carries the answers back, whole or as streams. Refuses to listen where
// other machines reach it without keys, unless told so. Knows nothing of models.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "server/http.h"
#include "server/http_config.h"

namespace cadre {

class HttpServer {
 public:
  // Listens and serves from here on. Throws Error for a bad config: an address that cannot be had
  // or needs keys, keys or a certificate that cannot be read, a limit of zero. Raises the process's
  // limit of open files to what it may be.
  HttpServer(const HttpServerConfig& config, HttpHandler handler);
  // Stops.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // The one that was bound.
  uint16_t port() const;
  // "http://127.0.0.1:8080"
  std::string url() const;
  size_t num_connections() const;

  // Accepts nothing more, ends idle connections, and waits until the requests in progress are
  // answered or `timeout_s` has passed; then stops. Returns whether all were answered. Blocks: not
  // for a signal handler or a thread of the transport.
  bool Drain(double timeout_s);
  // Ends every connection now (unfinished answers: OnGone) and joins the threads. Answers may
  // still be written to afterwards, without effect.
  void Stop();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace cadre
