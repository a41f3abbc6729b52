// What POST /v1/completions is answered: choices with text, as one body or as chunks.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "server/chat_answers.h"

namespace cadre {

struct CompletionAnswerOptions {
  AnswerHead head;
  std::vector<std::string> prompt_texts;  // [prompts], for echo
  size_t n = 1;
  size_t best_of = 1;  // at least n; request i is answer i % best_of to prompt i / best_of
  bool stream = false;
  bool include_usage = false;
  bool echo = false;
  int top_logprobs = -1;
  RoutingDetail routing = RoutingDetail::kNone;
};

// Config must outlive it.
std::unique_ptr<AnswerWriter> MakeCompletionAnswers(const ApiConfig& config,
                                                    CompletionAnswerOptions options);

}  // namespace cadre
