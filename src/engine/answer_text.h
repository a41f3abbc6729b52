// The text of an answer as its tokens come: whole characters, ended before a stop string. Tells
// after each token what can be shown and how many of the tokens are shown with it.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "engine/stop_strings.h"
#include "text/utf8_stream.h"

namespace cadre {

class AnswerText {
 public:
  // The tokenizer must outlive it. Throws Error as StopStrings.
  AnswerText(const Tokenizer& tokenizer, LeadingSpace leading_space,
             std::vector<std::string> stops);

  struct Shown {
    std::string text;
    int64_t tokens = 0;  // that were pushed and not counted yet, all of whose text is now out
  };

  // may_stop: a stop string that ends in this token's text ends the answer.
  Shown Push(int32_t id, bool may_stop = true);
  bool stopped() const { return stops_.stopped(); }
  // Of all tokens pushed, whether shown or not.
  int64_t decoded_bytes() const { return decoded_bytes_; }
  // What was held back, when no more comes. After a stop string: the tokens that had a share in the
  // text before it.
  Shown Finish();

 private:
  Shown Show(std::string text);

  Utf8Stream stream_;
  StopStrings stops_;
  int64_t decoded_bytes_ = 0;  // that came out of stream_
  int64_t shown_bytes_ = 0;    // of those, given to the caller
  int64_t counted_begin_ = 0;  // where the first of ends_ begins
  std::deque<int64_t> ends_;   // of the tokens not counted: where their text ends
};

}  // namespace cadre
