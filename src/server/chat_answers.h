// What a chat (or FIM) request is answered: choices with messages, as one body or as chunks.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "server/answer_json.h"
#include "server/api_config.h"
#include "server/exchange.h"
#include "server/tool_call_reader.h"

namespace cadre {

// How much of the routing a client wants to see.
enum class RoutingDetail : uint8_t { kNone, kAnswer, kAll };

struct ChatAnswerOptions {
  AnswerHead head;
  size_t n = 1;
  bool stream = false;
  bool include_usage = false;
  bool logprobs = false;
  RoutingDetail routing = RoutingDetail::kNone;
  std::string prefix;                      // the answer begins with it
  std::optional<int32_t> tool_trigger_id;  // where the model may call tools
};

// Chunks or one body for n answers to one prompt; request i is choice i. Config must outlive it.
std::unique_ptr<AnswerWriter> MakeChatAnswers(const ApiConfig& config, ChatAnswerOptions options);

}  // namespace cadre
