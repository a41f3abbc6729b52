// What an answer may say, compiled for the engine: the grammar of a format, or of tool calls behind
// their control token. Compiled grammars are kept, for applications send the same schema with every
// request.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/request.h"
#include "server/answer_format.h"
#include "server/api_config.h"
#include "server/tool_fields.h"

namespace cadre {

// Thread-safe.
class ConstraintSource {
 public:
  // The config must outlive it.
  explicit ConstraintSource(const ApiConfig& config);
  ~ConstraintSource();

  // Throws ApiError (400) naming the field, and within it the place, that cannot be enforced.
  // `leading`: what happens to a space before the answer.
  RequestConstraint ForFormat(const AnswerFormat& format, LeadingSpace leading);
  RequestConstraint ForTools(const ToolUse& use);
  // One of these words of letters and spaces, and nothing else; its leading space is stripped.
  RequestConstraint ForWords(const std::vector<std::string>& words);

 private:
  class Cache;
  const ApiConfig& config_;
  std::unique_ptr<Cache> cache_;
};

}  // namespace cadre
