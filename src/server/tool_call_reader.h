// An answer that may speak and then call functions: tells the text from the calls by the id of the
// control token between them, never by what the text spells, and reads each call as soon as it is
// whole.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/request.h"
#include "text/chat.h"
#include "text/tokenizer.h"

namespace cadre {

// [{"name": ..., "arguments": {...}}, ...] in pieces; a call counts once its last brace is there.
class ToolCallReader {
 public:
  // The calls that `bytes` complete, without ids; arguments are compact JSON text.
  std::vector<ToolCall> Push(std::string_view bytes);

 private:
  std::string object_;  // of the call that is being read
  int depth_ = 0;       // of braces within the list
  bool in_string_ = false;
  bool escaped_ = false;
};

class ToolCallSplitter {
 public:
  // `trigger_id`: [TOOL_CALLS]. The tokenizer must outlive this.
  ToolCallSplitter(const Tokenizer& tokenizer, int32_t trigger_id);

  struct Piece {
    std::string text;             // more of what the answer says
    std::vector<ToolCall> calls;  // and of what it calls
  };
  // Text is told once its tokens are known: with routing that is an event later.
  Piece Push(const RequestEvent& event);
  bool called() const { return called_; }

 private:
  const Tokenizer* tokenizer_;
  int32_t trigger_id_;
  std::string text_;        // that came and is not told yet
  size_t told_bytes_ = 0;   // of the text
  size_t known_bytes_ = 0;  // of text whose tokens are known to come before any trigger
  bool called_ = false;
  ToolCallReader reader_;
};

}  // namespace cadre
