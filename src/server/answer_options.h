// The fields that chat, completions and FIM share, in both dialects: how to sample, how long, how
// many, how to send. Unknown fields are left alone; wrong ones are a 422 that names them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/request.h"
#include "server/api_config.h"
#include "server/fields.h"

namespace cadre {

struct AnswerOptions {
  std::string model;  // as the caller spelt it
  SamplerConfig sampler;
  std::optional<int64_t> max_tokens;
  int64_t min_tokens = 0;
  bool ignore_eos = false;
  int64_t n = 1;
  std::vector<std::string> stops;
  bool stream = false;
  bool include_usage = false;  // O: a last chunk of its own, and null in the others
  int experts_per_token = 0;
  float min_expert_prob = 0;
  bool routing = false;
  bool prompt_routing = false;  // of the prompt too
};

// What is taken where the caller says nothing.
struct AnswerDefaults {
  double temperature = 0.7;
};

// Throws ApiError: 422, and 404 for a model that is not served.
AnswerOptions ParseAnswerOptions(Fields& fields, const ApiConfig& config,
                                 const AnswerDefaults& defaults);

// The engine's request for answer `index` of n to this prompt. Answer 0 has the seed itself, others
// one derived from it.
Request MakeRequest(const AnswerOptions& options, const ApiConfig& config,
                    std::vector<int32_t> prompt_ids, int64_t index);

// Throws ApiError (400, context_length_exceeded) for a prompt that leaves no room.
void CheckPromptFits(size_t prompt_tokens, int64_t context_length, const char* param);

}  // namespace cadre
