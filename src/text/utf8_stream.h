// Token ids to text as they come: every piece of output is whole characters, so it can go straight
// to a terminal or into a JSON event. Holds back a character whose bytes are not all there yet (at
// most 3 bytes); does not wait for emoji sequences.
#pragma once

#include <cstdint>
#include <string>

#include "text/tokenizer.h"

namespace cadre {

enum class LeadingSpace : uint8_t {
  kStrip,  // the text starts here: the one space that encoding put before it goes
  kKeep,   // the text continues another
};

class Utf8Stream {
 public:
  // The tokenizer must outlive the stream.
  Utf8Stream(const Tokenizer& tokenizer, LeadingSpace leading_space);

  // The text that `id` completes, often empty. All of it together, with Flush at the end, is what
  // Decode gives. Throws Error for an id out of range.
  std::string Push(int32_t id);

  // Something is held back.
  bool holds() const { return !held_.empty(); }

  // What was held back: a U+FFFD for each byte. The stream can be pushed to again.
  std::string Flush();

 private:
  std::string TakeWhole();

  const Tokenizer* tokenizer_;
  bool strip_next_;   // no piece but control ones seen yet, and its leading space is to go
  std::string held_;  // bytes of byte pieces: an incomplete character
};

}  // namespace cadre
