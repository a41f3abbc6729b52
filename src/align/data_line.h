// A line of instruction or preference data, in any of the shapes such data comes in, as what is
// said and what is to be learnt of it. Refuses, naming the member, what is none of them. Members it
// does not know are passed over.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "text/chat.h"

namespace cadre {

// What a string stands for where data has no messages.
enum class StringsAs {
  kChat,   // what one side of a conversation says
  kPlain,  // text as it is
};

// A conversation, or where there are no messages the text `prompt`, of which nothing is learnt, and
// `text` after it.
struct DataLine {
  std::vector<Message> messages;
  std::vector<ToolDefinition> tools;
  std::string prompt;
  std::string text;
};

// Reads, in this order of preference:
//   {"messages": [{"role", "content", "weight"?, "tool_calls"?, ...}], "tools"?: [...]}
//     ("interactions" or "conversations" instead, "text" or "value" for "content", "from" for
//     "role"; "available_tools" for "tools")
//   {"prompt", "completion"}: strings or lists of messages
//   {"instruction", "input" or "context"?, "output", "response" or "completion"}
//   {"text"} (or "content"): plain text, all of it learnt
// Learnt are the assistant's messages of weight 1 (the default; 0 is the other one), of a
// completion only. With tools those after the last user's message: the others were said before the
// tools were shown, which is at that message. Throws Error("{name}: ...").
DataLine ParseInstructionLine(const OrderedJson& line, StringsAs strings, const std::string& name);

struct PreferenceLine {
  DataLine chosen, rejected;  // whole; of what they share at their beginning nothing is learnt
};

// Reads {"chosen", "rejected"} with "prompt" (strings or lists of messages) or "instruction" and
// "input", or without: then both are whole conversations, lists of messages or transcripts of
// "\n\nHuman: ...\n\nAssistant: ...", which share their beginning. Throws Error("{name}: ...") also
// where the two are the same.
PreferenceLine ParsePreferenceLine(const OrderedJson& line, StringsAs strings,
                                   const std::string& name);

}  // namespace cadre
