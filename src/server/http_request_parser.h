// Bytes of a connection to requests, one after another, without doing any input itself. Refuses
// what two readers could understand differently (two lengths, two hosts, unknown encodings) and
// whatever exceeds the limits.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <string_view>

#include "server/http_config.h"

namespace cadre {

// What the transport needs of a request line and header; fields that are absent are empty.
struct HttpHead {
  std::string method;
  std::string target;
  bool http11 = true;
  bool keep_alive = true;         // what the client wishes
  bool expects_continue = false;  // waits for "100 Continue" before its body
  std::string host;
  std::string origin;
  std::string fetch_site;  // Sec-Fetch-Site
  std::string authorization;
  std::string request_id;
  std::string content_type;
  std::string accept;
  std::string if_none_match;
  std::string preflight_method;   // Access-Control-Request-Method
  std::string preflight_headers;  // Access-Control-Request-Headers
};

class HttpRequestParser {
 public:
  // `all_bodies`: bytes of the bodies that all parsers hold at present.
  HttpRequestParser(const HttpLimits& limits, std::atomic<size_t>& all_bodies);
  ~HttpRequestParser();
  HttpRequestParser(const HttpRequestParser&) = delete;
  HttpRequestParser& operator=(const HttpRequestParser&) = delete;

  // Reads on from the front of `bytes` and returns how many it took: at most to the end of the
  // header the first time, then to the end of the body. What it did not take must come again,
  // with more behind it. Not to be called once failed() or done().
  size_t Feed(std::string_view bytes);

  bool head_done() const { return head_done_; }
  bool done() const { return done_; }
  bool failed() const { return status_ != 0; }
  int status() const { return status_; }  // of the answer to a request that failed
  const std::string& problem() const { return problem_; }

  const HttpHead& head() const { return head_; }  // as far as it is known
  size_t body_bytes() const;                      // so far
  std::string TakeBody();
  // For the next request.
  void Reset();

 private:
  struct State;
  void ReadHead();
  void Fail(int status, std::string problem);
  // `reason`: what a 400 says.
  void FailWith(int status, const std::string& reason);

  const HttpLimits& limits_;
  std::atomic<size_t>& all_bodies_;
  std::unique_ptr<State> state_;
  HttpHead head_;
  size_t head_bytes_ = 0;
  bool head_done_ = false;
  bool done_ = false;
  int status_ = 0;
  std::string problem_;
};

}  // namespace cadre
