// From the texts of an item to token ids, as lm-evaluation-harness does it for a causal model:
// context and continuation are encoded together and on their own, white space at the end of the
// context is counted to the continuation, and what the whole has behind the context's length is
// asked for.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "eval/likelihood.h"
#include "eval/tasks/item.h"
#include "text/tokenizer.h"

namespace cadre {

// Immutable: any number of threads may use one. The tokenizer must outlive it.
class PromptEncoder {
 public:
  // context_length: what the model can be given.
  PromptEncoder(const Tokenizer& tokenizer, int64_t context_length);

  // Every prompt begins with BOS (where the vocabulary wants one), once.
  bool adds_bos() const { return bos_id_ >= 0; }

  struct Encoded {
    ItemRequests requests;
    bool is_cut = false;  // ids were left out at the beginning, BOS first, to fit the context
  };
  // `before`: description and examples. Throws Error, naming the item, where nothing is left to ask
  // for, or it alone does not fit.
  Encoded Encode(const EvalItem& item, const std::string& before) const;

  struct Prompt {
    std::vector<int32_t> ids;
    bool is_cut = false;  // as above
  };
  // A text to go on from, with room for so many tokens behind it: BOS and all of the text. Throws
  // Error where nothing of it would fit.
  Prompt EncodePrompt(const std::string& text, int64_t room) const;

 private:
  LikelihoodRequest Join(const std::string& context, const std::vector<int32_t>& given,
                         const std::string& continuation) const;
  bool Cut(LikelihoodRequest& request) const;

  const Tokenizer* tokenizer_;
  int32_t bos_id_;  // -1: none
  int64_t context_length_;
};

}  // namespace cadre
