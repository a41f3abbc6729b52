// A piece of training data as token ids, with what of it is learnt.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "align/data_line.h"
#include "text/tokenizer.h"

namespace cadre {

struct Sample {
  std::vector<int32_t> tokens;   // BOS first
  std::vector<uint8_t> trained;  // [tokens] 1: the model learns to predict it

  int64_t CountTrained() const;
  // What stands before the first learnt token; all of it where that is BOS alone.
  std::span<const int32_t> Prompt() const;
};

// The tokenizer and the instruct format that it is for.
struct ChatText {
  const Tokenizer& tokenizer;
  ChatVersion version;
};

// A conversation in the version's format, learnt where the assistant's learnt messages stand, their
// EOS included; plain text as BOS prompt text EOS, prompt and text encoded apart. Throws
// Error("{name}: ...") for what the version cannot say and for data without text.
Sample EncodeSample(const DataLine& line, const ChatText& text, const std::string& name);

// Leaves the first `max_tokens`; what is learnt last is then the last token. Returns whether any
// had to go.
bool CutEnd(Sample& sample, int64_t max_tokens);

}  // namespace cadre
