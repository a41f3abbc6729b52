// response_format, and the regular expression that is an extension of ours: what the text of an
// answer must be.
#pragma once

#include <string>

#include "server/fields.h"

namespace cadre {

struct AnswerFormat {
  enum class Kind : uint8_t { kText, kJsonObject, kJsonSchema, kRegex };
  Kind kind = Kind::kText;
  OrderedJson schema = OrderedJson::object();  // with kJsonSchema
  std::string regex;                           // with kRegex; the whole text matches it
};

// Reads response_format and regex. Throws ApiError (422); whether a schema can be enforced is the
// grammar's to say.
AnswerFormat ParseAnswerFormat(Fields& fields);

}  // namespace cadre
