#include "grammar/schema_values.h"

#include <cmath>

#include "base/error.h"
#include "base/json.h"
#include "grammar/decimal_range.h"
#include "text/utf8.h"

namespace cadre {
namespace {

size_t NumCharacters(std::string_view text) {
  size_t count = 0;
  for (; !text.empty(); ++count) text.remove_prefix(DecodeUtf8(text).num_bytes);
  return count;
}

// Of two numbers: less than 0, 0 or more, exactly.
int CompareNumbers(const OrderedJson& a, const OrderedJson& b) {
  return CompareDecimals(ParseDecimal(a, false), ParseDecimal(b, false));
}

}  // namespace

bool JsonEqual(const OrderedJson& a, const OrderedJson& b) {
  if (a.is_number() && b.is_number()) return CompareNumbers(a, b) == 0;
  if (a.type() != b.type()) return false;
  if (!a.is_structured()) return a == b;
  if (a.size() != b.size()) return false;
  for (auto it = a.begin(); it != a.end(); ++it) {
    const OrderedJson* other = nullptr;
    if (a.is_object()) {
      other = Member(b, it.key());
    } else {
      other = &b[static_cast<size_t>(it - a.begin())];
    }
    if (other == nullptr || !JsonEqual(*it, *other)) return false;
  }
  return true;
}

bool HasJsonType(const OrderedJson& value, std::string_view type) {
  if (type == "null") return value.is_null();
  if (type == "boolean") return value.is_boolean();
  if (type == "number") return value.is_number();
  if (type == "integer") {
    return value.is_number_integer() ||
           (value.is_number() && std::floor(value.get<double>()) == value.get<double>());
  }
  if (type == "string") return value.is_string();
  return type == "array" ? value.is_array() : value.is_object();
}

bool SchemaValues::Satisfies(const OrderedJson& value, const OrderedJson& schema) {
  if (schema.is_boolean()) return schema.get<bool>();
  // Only a $ref that leads back to its own place goes on for ever.
  if (depth_ > 4 * SchemaDocument::kMaxDepth) {
    document_.Refuse(schema, "$ref", "leads back to itself");
  }
  ++depth_;
  bool satisfied = true;
  for (auto it = schema.begin(); it != schema.end() && satisfied; ++it) {
    budget_.Spend(8);
    satisfied = SatisfiesKeyword(value, schema, it.key(), *it);
  }
  --depth_;
  return satisfied;
}

bool SchemaValues::SatisfiesKeyword(const OrderedJson& value, const OrderedJson& schema,
                                    const std::string& keyword, const OrderedJson& wanted) {
  if (keyword == "type") {
    const OrderedJson* nullable = Member(schema, "nullable");
    if (value.is_null() && nullable != nullptr && nullable->get<bool>()) return true;
    if (wanted.is_string()) return HasJsonType(value, wanted.get_ref<const std::string&>());
    for (const OrderedJson& type : wanted) {
      if (HasJsonType(value, type.get_ref<const std::string&>())) return true;
    }
    return false;
  }
  if (keyword == "const") return JsonEqual(value, wanted);
  if (keyword == "enum") {
    for (const OrderedJson& one : wanted) {
      if (JsonEqual(value, one)) return true;
    }
    return false;
  }
  if (keyword == "$ref") return Satisfies(value, *document_.Target(schema));
  if (keyword == "anyOf" || keyword == "oneOf" || keyword == "allOf") {
    size_t count = 0;
    for (const OrderedJson& branch : wanted) count += Satisfies(value, branch) ? 1 : 0;
    if (keyword == "allOf") return count == wanted.size();
    return keyword == "anyOf" ? count > 0 : count == 1;
  }
  if (value.is_number()) return SatisfiesNumber(value, keyword, wanted);
  if (value.is_string()) return SatisfiesString(value, keyword, wanted);
  if (value.is_array()) return SatisfiesArray(value, schema, keyword, wanted);
  return !value.is_object() || SatisfiesObject(value, schema, keyword, wanted);
}

bool SchemaValues::SatisfiesNumber(const OrderedJson& value, const std::string& keyword,
                                   const OrderedJson& wanted) {
  if (keyword == "minimum") return CompareNumbers(value, wanted) >= 0;
  if (keyword == "maximum") return CompareNumbers(value, wanted) <= 0;
  if (keyword == "exclusiveMinimum") return CompareNumbers(value, wanted) > 0;
  if (keyword == "exclusiveMaximum") return CompareNumbers(value, wanted) < 0;
  if (keyword == "multipleOf") {
    DecimalRange range;
    return SetMultiple(wanted, range) && IsMultiple(ParseDecimal(value, false), range);
  }
  if (keyword == "format" && (wanted == "int32" || wanted == "int64")) {
    const DecimalRange range = IntegerFormat(wanted == "int32");
    const DecimalBound number = ParseDecimal(value, false);
    return HasJsonType(value, "integer") && CompareDecimals(number, *range.min) >= 0 &&
           CompareDecimals(number, *range.max) <= 0;
  }
  return true;
}

bool SchemaValues::SatisfiesString(const OrderedJson& value, const std::string& keyword,
                                   const OrderedJson& wanted) {
  const std::string& text = value.get_ref<const std::string&>();
  budget_.Spend(static_cast<int64_t>(text.size()));
  const auto length = [&] { return static_cast<double>(NumCharacters(text)); };
  if (keyword == "minLength") return length() >= wanted.get<double>();
  if (keyword == "maxLength") return length() <= wanted.get<double>();
  if (keyword == "pattern") {
    return Accepts(texts_.Pattern(wanted.get_ref<const std::string&>()), text);
  }
  if (keyword == "format") {
    const TextDfa* format = texts_.Format(wanted.get_ref<const std::string&>());
    return format != nullptr && Accepts(*format, text);
  }
  return true;
}

bool SchemaValues::SatisfiesArray(const OrderedJson& value, const OrderedJson& schema,
                                  const std::string& keyword, const OrderedJson& wanted) {
  const auto size = static_cast<double>(value.size());
  if (keyword == "minItems") return size >= wanted.get<double>();
  if (keyword == "maxItems") return size <= wanted.get<double>();
  // Items from `begin` on against one schema, or against those of a list.
  const auto each = [&](size_t begin, size_t end, const OrderedJson& of) {
    for (size_t i = begin; i < std::min(end, value.size()); ++i) {
      if (!Satisfies(value[i], of.is_array() ? of[i] : of)) return false;
    }
    return true;
  };
  if (keyword == "prefixItems") return each(0, wanted.size(), wanted);
  if (keyword == "items") {
    if (wanted.is_array()) return each(0, wanted.size(), wanted);
    const OrderedJson* prefix = Member(schema, "prefixItems");
    return each(prefix == nullptr ? 0 : prefix->size(), value.size(), wanted);
  }
  if (keyword == "additionalItems") {
    const OrderedJson* items = Member(schema, "items");
    return items == nullptr || !items->is_array() || each(items->size(), value.size(), wanted);
  }
  return true;
}

bool SchemaValues::SatisfiesObject(const OrderedJson& value, const OrderedJson& schema,
                                   const std::string& keyword, const OrderedJson& wanted) {
  const auto size = static_cast<double>(value.size());
  if (keyword == "minProperties") return size >= wanted.get<double>();
  if (keyword == "maxProperties") return size <= wanted.get<double>();
  if (keyword == "required") {
    for (const OrderedJson& name : wanted) {
      if (Member(value, name.get_ref<const std::string&>()) == nullptr) return false;
    }
  }
  const OrderedJson* properties = Member(schema, "properties");
  const OrderedJson* patterns = Member(schema, "patternProperties");
  for (auto it = value.begin(); it != value.end(); ++it) {
    budget_.Spend(8);
    if (keyword == "propertyNames" && !Satisfies(OrderedJson(it.key()), wanted)) return false;
    if (keyword == "properties") {
      const OrderedJson* property = Member(wanted, it.key());
      if (property != nullptr && !Satisfies(*it, *property)) return false;
    }
    bool declared = properties != nullptr && Member(*properties, it.key()) != nullptr;
    if (patterns != nullptr &&
        (keyword == "patternProperties" || keyword == "additionalProperties")) {
      for (auto p = patterns->begin(); p != patterns->end(); ++p) {
        if (!Accepts(texts_.Pattern(p.key()), it.key())) continue;
        declared = true;
        if (keyword == "patternProperties" && !Satisfies(*it, *p)) return false;
      }
    }
    if (keyword == "additionalProperties" && !declared && !Satisfies(*it, wanted)) return false;
  }
  return true;
}

}  // namespace cadre
