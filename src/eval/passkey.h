// Passkey retrieval (Mohtashami and Jaggi, arXiv 2305.16300): a number is hidden in a long text of
// nothing, at a chosen depth, and the model is asked for it. The items are made, not read.
#pragma once

#include <cstdint>
#include <vector>

#include "eval/tasks/task.h"
#include "text/tokenizer.h"

namespace cadre {

struct PassKeyGrid {
  std::vector<int64_t> lengths = {};  // tokens of prompt and answer, by the model's tokenizer
  std::vector<int> depths = {0, 25, 50, 75, 100};  // per cent of the text before the number
  int trials = 10;                                 // for each length and depth
};

// Powers of two from 512 on, as far as the context goes, and 32768 at most; the context itself
// where it is shorter.
std::vector<int64_t> PassKeyLengths(int64_t context_length);

// trials items for each length and depth, as group "LENGTH tokens, DEPTH %"; numbers of five digits
// that are functions of the seed. answer_tokens: room left for the answer. Throws Error for a
// length that does not fit the context or has no room for the question.
std::vector<EvalItem> PassKeyItems(const PassKeyGrid& grid, const Tokenizer& tokenizer,
                                   int64_t context_length, int64_t answer_tokens, uint64_t seed);

}  // namespace cadre
