// What an HttpServer is told: where it listens, whom it lets in, and how much of everything one
// client may take. Refuses nothing by itself: HttpServer does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace cadre {

struct HttpLimits {
  size_t header_bytes = size_t{16} << 10;     // request line and header: 431 above
  size_t body_bytes = size_t{16} << 20;       // of one request: 413 above
  size_t all_bodies_bytes = size_t{1} << 30;  // of all requests still being read: 503 above
  size_t unsent_bytes = size_t{64} << 20;     // of one stream: its client is dropped above
  size_t connections = 10000;                 // more are told 503
  double header_s = 10;            // from a request's first byte to the end of its header: 408
  double body_s = 30;              // for a body, and on top of it
  double body_bytes_per_s = 4096;  // the time that this rate needs: 408
  double idle_s = 75;              // between requests
  double stall_s = 30;             // for a client to take a byte of those that wait for it
  double linger_s = 2;             // for a client to read the last answer before the end
};

struct HttpServerConfig {
  std::string host = "127.0.0.1";  // an address or a name
  uint16_t port = 8080;            // 0: any free one
  int num_threads = 2;
  HttpLimits limits = {};
  std::string api_key_file = {};   // one key a line, # comments; empty: no key is asked for
  std::string tls_cert_file = {};  // PEM chain; empty with tls_key_file: no TLS
  std::string tls_key_file = {};
  bool insecure = false;  // also without keys, listen where other machines can reach
  // Web pages of these origins may call, as "https://example.org"; "*": of any. Others only when
  // they came from here.
  std::vector<std::string> allow_origins = {};
};

}  // namespace cadre
