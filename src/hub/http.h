// HTTP over libcurl, GET with redirects followed and POST of JSON: credentials are kept from other
// hosts, nothing is retried.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>

namespace cadre {

struct HttpGet {
  std::string url;    // http or https
  std::string token;  // sent as "Authorization: Bearer" to the first host only; empty: none
  // Bytes [begin, end) of the body; the server must answer with just them.
  std::optional<std::pair<uint64_t, uint64_t>> range;
};

struct HttpPost {
  std::string url;         // http or https
  std::string token;       // as above
  std::string json;        // the body
  double timeout_s = 600;  // for all of it: the answer may be long in the making
};

// How a request ended. Exactly one of the first two is meaningful.
struct HttpResult {
  int status = 0;        // of the last answer; 0: there was none
  std::string problem;   // what cut it short: "connection reset by peer"; empty: nothing did
  std::string location;  // the host that answered last, for messages
  std::map<std::string, std::string> headers;  // of the last answer, names in lower case

  bool ok() const { return problem.empty() && (status == 200 || status == 206); }
};

// One connection at a time, kept open between requests. Not for two threads at once.
class HttpClient {
 public:
  // Requests end early, as a problem, once `stopped` says so (may be empty); it must not throw.
  explicit HttpClient(std::function<bool()> stopped = {});
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // Calls `take` for the body as it comes, for answers 200 and 206 only (with a range: 206 only,
  // and never for more than was asked for); it returns false to end the request. What it
  // throws goes on to the caller; no answer is thrown.
  HttpResult Get(const HttpGet& request,
                 const std::function<bool(std::span<const std::byte>)>& take);

  // Sends JSON and puts the body that comes into `answer`, whatever the status; a redirect is not
  // followed. Bodies of more than 64 MiB are a problem.
  HttpResult Post(const HttpPost& request, std::string& answer);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace cadre
