// A judge behind any endpoint that speaks OpenAI's chat completions: asked at temperature 0, one
// prompt after another.
#pragma once

#include <string>

#include "eval/judge_prompt.h"
#include "hub/http.h"

namespace cadre {

struct JudgeOptions {
  std::string url;       // as "https://api.mistral.ai/v1"
  std::string model;     // as the endpoint calls it
  std::string key_file;  // its first line is the key; empty: none is sent
};

// Not thread-safe.
class Judge {
 public:
  // Throws Error where the key cannot be read.
  explicit Judge(JudgeOptions options);

  // What the judge says. Asks again a few times where the endpoint is busy or cannot be reached;
  // then throws Error with what it answered.
  std::string Ask(const JudgePrompt& prompt);

 private:
  std::string url_;
  std::string model_;
  std::string key_;
  HttpClient client_;
};

}  // namespace cadre
