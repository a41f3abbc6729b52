// A request that the engine has taken: what it has run, what it waits for, what it has cost.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "base/clock.h"
#include "engine/answer.h"
#include "engine/page_cache.h"
#include "engine/prompt_lookup.h"

namespace cadre {

struct ActiveRequest {
  // Throws Error for settings out of range. What it is given must outlive it.
  ActiveRequest(Request asked, RequestCallback told, const AnswerLimits& limits,
                const Tokenizer& tokenizer, PageCache& cache)
      : request(std::move(asked)),
        callback(std::move(told)),
        answer(request, limits, tokenizer),
        ids(request.prompt_ids),
        chain(cache) {}
  ActiveRequest(const ActiveRequest&) = delete;
  ActiveRequest& operator=(const ActiveRequest&) = delete;

  int64_t num_prompt() const { return std::ssize(request.prompt_ids); }
  // Known ids whose keys and values are not in the pages: at least one until the end.
  int64_t to_run() const { return std::ssize(ids) - chain.committed(); }
  bool in_prompt() const { return chain.committed() < num_prompt(); }
  // Something is told of every one of the prompt's tokens, so none may come from another request.
  bool needs_whole_prompt() const {
    return request.prompt_logprobs || request.routing || request.embedding;
  }

  RequestId id = 0;
  const Request request;
  const RequestCallback callback;
  Answer answer;
  std::vector<int32_t> ids;  // the prompt, then what was sampled
  PageCache::Chain chain;
  std::vector<int32_t> drafts;  // of this step, behind ids
  DraftRecord draft_record;
  bool paused = false;
  bool admitted = false;           // once at least
  std::vector<double> hidden_sum;  // [dim] of the prompt's hidden states, when asked for

  RequestUsage usage;
  int64_t routed_rows = 0;     // times layers
  int64_t chosen_experts = 0;  // over those
  Stopwatch since_submitted;
  double admitted_s = 0;  // on that watch
  double first_token_s = 0;
};

// What a step runs of a request: the next `rows` of its ids, then its drafts.
struct StepPart {
  ActiveRequest* request;
  int64_t rows;

  int64_t begin() const { return request->chain.committed(); }
  int64_t all_rows() const { return rows + std::ssize(request->drafts); }
  // The rows are all that is known: the next token comes out of the last of them.
  bool samples() const { return rows == request->to_run(); }
};

}  // namespace cadre
