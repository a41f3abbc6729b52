// The fields that say which functions a model may call and whether it must.
#pragma once

#include <string>
#include <vector>

#include "server/fields.h"
#include "text/chat.h"

namespace cadre {

enum class ToolChoice : uint8_t {
  kNone,      // text only
  kAuto,      // text or calls, as the model likes
  kRequired,  // calls
};

struct ToolUse {
  std::vector<ToolDefinition> tools;  // all that the model is told of
  std::vector<size_t> callable;       // indices of those it may call
  ToolChoice choice = ToolChoice::kNone;
  bool parallel = true;  // more than one call in an answer
};

// Reads tools, tool_choice and parallel_tool_calls. Throws ApiError (422).
ToolUse ParseToolUse(Fields& fields);

}  // namespace cadre
