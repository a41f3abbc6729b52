// POST /v1/completions: a raw text or raw ids, continued.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "server/answer_format.h"
#include "server/answer_options.h"

namespace cadre {

struct CompletionRequest {
  AnswerOptions options;
  std::vector<std::vector<int32_t>> prompts;  // BOS first where the vocabulary wants one
  std::vector<std::string> prompt_texts;      // as echo shows them
  int64_t best_of = 1;                        // answers that are made; the best n are told
  bool echo = false;
  int top_logprobs = -1;  // -1: no log-probabilities
  AnswerFormat format;
};

// Prompt-texts get BOS; token arrays are taken as they are. Throws ApiError: 422 for a field, 404
// for the model, 400 for a prompt that is too long.
CompletionRequest ParseCompletionRequest(const OrderedJson& body, const ApiConfig& config);

// The ids of `input`: a string, strings, ids, or lists of ids. `param`: the field's name. Throws
// ApiError (422; 400 where one is too long).
struct PromptList {
  std::vector<std::vector<int32_t>> ids;
  std::vector<std::string> texts;
};
PromptList ParsePrompts(const OrderedJson& input, const char* param, const ApiConfig& config,
                        bool may_be_empty);

}  // namespace cadre
