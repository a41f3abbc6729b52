#include "eval/prompt.h"

#include "base/error.h"
#include "eval/tasks/python_text.h"

namespace cadre {

PromptEncoder::PromptEncoder(const Tokenizer& tokenizer, int64_t context_length)
    : tokenizer_(&tokenizer),
      bos_id_(tokenizer.vocabulary().add_bos ? tokenizer.bos_id() : -1),
      context_length_(context_length) {}

PromptEncoder::Encoded PromptEncoder::Encode(const EvalItem& item,
                                             const std::string& before) const {
  Encoded encoded;
  std::string context;
  std::vector<int32_t> given;
  for (size_t i = 0; i < item.num_requests(); ++i) {
    if (i < item.contexts.size()) {
      context = before + item.contexts[i];
      given = tokenizer_->Encode(StripRight(context));
    }
    LikelihoodRequest request = Join(context, given, item.continuation(i));
    const int64_t asked = std::ssize(request.ids) - request.num_given;
    if (request.num_given == 0 || asked <= 0) {
      throw Error("'{}' behind '{}' makes no token of its own", Printable(item.continuation(i)),
                  Printable(item.context(i)));
    }
    if (asked > context_length_) {
      throw Error("'{}' has {} tokens but the context has {}", Printable(item.continuation(i)),
                  asked, context_length_);
    }
    encoded.is_cut |= Cut(request);
    encoded.requests.push_back(std::move(request));
  }
  return encoded;
}

PromptEncoder::Prompt PromptEncoder::EncodePrompt(const std::string& text, int64_t room) const {
  if (room >= context_length_) {
    throw Error("an answer may have {} tokens but the context has {}: none are left for the prompt",
                room, context_length_);
  }
  Prompt prompt;
  if (bos_id_ >= 0) prompt.ids.push_back(bos_id_);
  const auto encoded = tokenizer_->Encode(text);
  prompt.ids.insert(prompt.ids.end(), encoded.begin(), encoded.end());
  const int64_t excess = std::ssize(prompt.ids) - (context_length_ - room);
  prompt.is_cut = excess > 0;
  if (prompt.is_cut) prompt.ids.erase(prompt.ids.begin(), prompt.ids.begin() + excess);
  if (prompt.ids.empty()) throw Error("the prompt makes no token");
  return prompt;
}

// The ids of the context are those of the context alone, also where the whole would divide it
// otherwise.
LikelihoodRequest PromptEncoder::Join(const std::string& context, const std::vector<int32_t>& given,
                                      const std::string& continuation) const {
  const auto whole = tokenizer_->Encode(context + continuation);
  LikelihoodRequest request;
  if (bos_id_ >= 0) request.ids.push_back(bos_id_);
  request.ids.insert(request.ids.end(), given.begin(), given.end());
  request.num_given = std::ssize(request.ids);
  // No text becomes a control token, so BOS stands there once.
  CADRE_CHECK(bos_id_ < 0 || given.empty() || given.front() != bos_id_);
  if (whole.size() > given.size()) {
    request.ids.insert(request.ids.end(), whole.begin() + static_cast<std::ptrdiff_t>(given.size()),
                       whole.end());
  }
  return request;
}

// The last id is asked for but never run, so one more than the context fits.
bool PromptEncoder::Cut(LikelihoodRequest& request) const {
  const int64_t excess = std::ssize(request.ids) - (context_length_ + 1);
  if (excess <= 0) return false;
  request.ids.erase(request.ids.begin(), request.ids.begin() + excess);
  request.num_given -= excess;
  return true;
}

}  // namespace cadre
