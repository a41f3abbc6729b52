#include "server/answer_constraint.h"

#include "server/api_error.h"

namespace cadre {

class ConstraintSource::Cache {};

ConstraintSource::ConstraintSource(const ApiConfig& config) : config_(config) {}

ConstraintSource::~ConstraintSource() = default;

RequestConstraint ConstraintSource::ForFormat(const AnswerFormat& format, LeadingSpace) {
  if (format.kind == AnswerFormat::Kind::kText) return {};
  throw ApiError(400, "answers cannot be held to a format", "response_format",
                 "format_not_supported");
}

RequestConstraint ConstraintSource::ForTools(const ToolUse&) {
  throw ApiError(400, "calls cannot be held to their schemas", "tools", "tools_not_supported");
}

RequestConstraint ConstraintSource::ForWords(const std::vector<std::string>&) {
  throw ApiError(400, "answers cannot be held to words", "model", "moderation_not_supported");
}

}  // namespace cadre
