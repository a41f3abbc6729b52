#include "server/answer_format.h"

namespace cadre {
namespace {

constexpr size_t kMaxRegexBytes = 65536;

// {"name", "schema", "description", "strict"}; without a schema any object will do.
void ParseSchema(Fields& format, AnswerFormat& parsed) {
  Fields fields(format.Required("json_schema"), format.PathOf("json_schema"));
  fields.String("name");
  fields.String("description");
  fields.Bool("strict");  // the schema is always kept
  const OrderedJson* schema = fields.Find("schema");
  if (schema == nullptr) schema = fields.Find("schema_definition");  // as Mistral's clients name it
  if (schema == nullptr) {
    parsed.kind = AnswerFormat::Kind::kJsonObject;
    return;
  }
  if (!schema->is_object() && !schema->is_boolean())
    fields.Fail("schema", "is " + Shown(*schema) + " but must be a schema", "dict_type");
  parsed.kind = AnswerFormat::Kind::kJsonSchema;
  parsed.schema = *schema;
}

}  // namespace

AnswerFormat ParseAnswerFormat(Fields& fields) {
  AnswerFormat parsed;
  const OrderedJson* format = fields.Find("response_format");
  if (format != nullptr) {
    Fields inner(*format, fields.PathOf("response_format"));
    const std::string type = inner.RequiredString("type");
    if (type == "json_object") {
      parsed.kind = AnswerFormat::Kind::kJsonObject;
    } else if (type == "json_schema") {
      ParseSchema(inner, parsed);
    } else if (type != "text") {
      inner.Fail("type",
                 "is '" + Printable(type) + "' but must be text, json_object or json_schema",
                 "literal_error");
    }
  }
  const std::optional<std::string> regex = fields.String("regex");
  if (!regex) return parsed;
  if (parsed.kind != AnswerFormat::Kind::kText)
    fields.Fail("regex", "is given beside a response_format but only one can hold", "value_error");
  if (regex->size() > kMaxRegexBytes) {
    fields.Fail("regex", fmt::format("has {} bytes but may have {}", regex->size(), kMaxRegexBytes),
                "string_too_long");
  }
  parsed.kind = AnswerFormat::Kind::kRegex;
  parsed.regex = *regex;
  return parsed;
}

}  // namespace cadre
