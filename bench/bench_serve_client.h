// A crowd of clients of one OpenAI-compatible server, on one thread: asks many requests, a given
// number at a time, and notes when each token came. Speaks plain HTTP only.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace cadre::bench {

struct ServeTarget {
  std::string host;
  std::string port;
  std::string path;  // "/v1/completions"
  std::string key;   // sent as Authorization: Bearer; empty: none
  double timeout_s = 600;
};

// One request's fate.
struct ServeResult {
  int status = 0;       // 0: there was no answer
  std::string problem;  // empty: all went well
  std::string text;
  double seconds = 0;         // from connecting, or asking where a connection was open, to the end
  double first_token_s = 0;   // until the first piece of text
  std::vector<float> gaps_s;  // between pieces
  int64_t num_pieces = 0;
  int64_t prompt_tokens = -1;  // as the server counts; -1: it does not say
  int64_t completion_tokens = -1;
};

// Splits "http://host:port[/v1]" and appends `endpoint` ("/v1/completions"). Throws Error.
ServeTarget ParseServeUrl(const std::string& url, const std::string& endpoint);

// Asks bodies[i], at most `concurrency` at a time, each client keeping its connection; result i is
// of body i. Never throws for what a server does.
std::vector<ServeResult> AskAll(const ServeTarget& target, const std::vector<std::string>& bodies,
                                int concurrency);

}  // namespace cadre::bench
