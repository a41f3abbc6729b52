// One answer as it is made: from the logits of a position to the token, its text, and what is told
// of it. Applies everything that the request asks of its tokens; knows nothing of pages and
// batches. What it gives is a function of the request and of the logits alone.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "engine/answer_text.h"
#include "engine/request.h"

namespace cadre {

// What ends any answer of a model.
struct AnswerLimits {
  std::vector<int32_t> eos_ids;
  int64_t context_length = 0;
  int64_t num_sampled_ids = 0;  // padding rows of the embedding are never sampled
};

class Answer {
 public:
  // All it is given must outlive it. Throws Error for settings out of range.
  Answer(const Request& request, const AnswerLimits& limits, const Tokenizer& tokenizer);

  // ids: the prompt and what was sampled; gets the next token. logits: [vocab] behind the last of
  // ids; overwritten. Returns false when the answer has ended, with or without a token more. Throws
  // Error when no token can be.
  bool Next(std::span<float> logits, std::vector<int32_t>& ids);

  // logits: behind prompt token `position`, so of the one at position + 1.
  void SetPromptLogprobs(int64_t position, std::span<const float> logits);
  void SetRouting(int64_t position, TokenRouting routing);

  int64_t num_generated() const { return num_generated_; }
  // Time that the constraint took: its masks and its steps from state to state.
  double constraint_s() const { return constraint_s_; }
  bool ended() const { return reason_.has_value(); }
  // Ends it now, for a reason from outside.
  void End(FinishReason reason, std::string error = {});

  // What has not been told yet. With the end, when it has ended: usage is the caller's to fill.
  RequestEvent TakeEvent();

 private:
  bool IsEnd(int32_t id) const;
  void MaskLogits(std::span<float> logits);
  void Accept(int32_t id);
  void FindAllowed();
  OutputToken* TokenAt(int64_t position);

  const Request& request_;
  const AnswerLimits& limits_;
  Sampler sampler_;
  AnswerText text_;
  std::unique_ptr<ConstraintState> constraint_;  // while it holds
  std::vector<uint64_t> allowed_;                // [vocab / 64] by constraint_
  bool must_end_ = false;                        // the constraint allows no token more
  double constraint_s_ = 0;
  int64_t num_generated_ = 0;
  std::deque<OutputToken> tokens_;  // not told yet
  int64_t num_shown_ = 0;           // of tokens_, those whose text is out
  std::vector<OutputToken> prompt_tokens_;
  std::string told_text_;  // not told yet
  std::optional<FinishReason> reason_;
  std::string error_;
};

}  // namespace cadre
