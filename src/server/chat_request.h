// POST /v1/chat/completions as both dialects ask it, and POST /v1/fim/completions, which is
// answered in the same shape. Parsing is pure: no engine is needed to say what is wrong.
#pragma once

#include <vector>

#include "server/answer_format.h"
#include "server/answer_options.h"
#include "server/tool_fields.h"
#include "text/chat.h"

namespace cadre {

struct ChatRequest {
  AnswerOptions options;
  std::vector<Message> messages;
  ToolUse tools;
  AnswerFormat format;
  bool safe_prompt = false;
  int top_logprobs = -1;  // -1: no log-probabilities
  std::string prefix;     // what the answer begins with, because the caller said so
};

// Throws ApiError: 422 for a field, 404 for the model, 400 for a base model and for tools that the
// model cannot have.
ChatRequest ParseChatRequest(const OrderedJson& body, const ApiConfig& config);

// The conversation as ids. Throws ApiError (400) for one that the format cannot say.
std::vector<int32_t> ChatPrompt(const ChatRequest& request, const ApiConfig& config);

struct FimRequest {
  AnswerOptions options;
  std::string prompt;
  std::string suffix;
};

// Throws ApiError, 400 for a model without the control pieces.
FimRequest ParseFimRequest(const OrderedJson& body, const ApiConfig& config);
std::vector<int32_t> FimPrompt(const FimRequest& request, const ApiConfig& config);

}  // namespace cadre
