#include "grammar/schema_document.h"

#include <cmath>
#include <unordered_set>

#include "base/error.h"
#include "base/json.h"
#include "text/utf8.h"

namespace cadre {
namespace {

enum class Form : uint8_t {
  kAnnotation,
  kRefused,
  kType,
  kEnum,
  kAnyValue,
  kCount,
  kNumber,
  kMultiple,
  kString,
  kBool,
  kNames,
  kSchema,
  kSchemas,        // an array of them, not empty
  kSchemaOrArray,  // items
  kSchemaMap,
  kFormat,
  kRef,
  kUniqueItems,
  kUnevaluated,
};

const std::unordered_map<std::string_view, Form>& Forms() {
  static const std::unordered_map<std::string_view, Form> forms = {
      {"title", Form::kAnnotation},
      {"description", Form::kAnnotation},
      {"default", Form::kAnnotation},
      {"example", Form::kAnnotation},
      {"examples", Form::kAnnotation},
      {"deprecated", Form::kAnnotation},
      {"readOnly", Form::kAnnotation},
      {"writeOnly", Form::kAnnotation},
      {"discriminator", Form::kAnnotation},
      {"externalDocs", Form::kAnnotation},
      {"xml", Form::kAnnotation},
      {"$schema", Form::kAnnotation},
      {"$id", Form::kAnnotation},
      {"id", Form::kAnnotation},
      {"$comment", Form::kAnnotation},
      {"$defs", Form::kAnnotation},  // looked through where they are referred to
      {"definitions", Form::kAnnotation},
      {"type", Form::kType},
      {"enum", Form::kEnum},
      {"const", Form::kAnyValue},
      {"nullable", Form::kBool},
      {"anyOf", Form::kSchemas},
      {"oneOf", Form::kSchemas},
      {"allOf", Form::kSchemas},
      {"$ref", Form::kRef},
      {"minimum", Form::kNumber},
      {"maximum", Form::kNumber},
      {"exclusiveMinimum", Form::kNumber},
      {"exclusiveMaximum", Form::kNumber},
      {"multipleOf", Form::kMultiple},
      {"minLength", Form::kCount},
      {"maxLength", Form::kCount},
      {"pattern", Form::kString},
      {"format", Form::kFormat},
      {"items", Form::kSchemaOrArray},
      {"prefixItems", Form::kSchemas},
      {"additionalItems", Form::kSchema},
      {"minItems", Form::kCount},
      {"maxItems", Form::kCount},
      {"uniqueItems", Form::kUniqueItems},
      {"properties", Form::kSchemaMap},
      {"patternProperties", Form::kSchemaMap},
      {"additionalProperties", Form::kSchema},
      {"propertyNames", Form::kSchema},
      {"required", Form::kNames},
      {"minProperties", Form::kCount},
      {"maxProperties", Form::kCount},
      {"unevaluatedItems", Form::kUnevaluated},
      {"unevaluatedProperties", Form::kUnevaluated},
  };
  return forms;
}

bool IsTypeName(const OrderedJson& name) {
  static const std::unordered_set<std::string_view> names = {
      "null", "boolean", "integer", "number", "string", "array", "object"};
  return name.is_string() && names.contains(name.get_ref<const std::string&>());
}

// Of strings: see SchemaTexts::Format; of numbers: those of OpenAPI.
bool IsFormatName(const OrderedJson& name) {
  static const std::unordered_set<std::string_view> names = {
      "date-time",     "date", "time",         "duration", "email", "idn-email",
      "hostname",      "ipv4", "idn-hostname", "ipv6",     "uuid",  "uri",
      "uri-reference", "iri",  "int32",        "int64",    "float", "double"};
  return name.is_string() && names.contains(name.get_ref<const std::string&>());
}

// A name as a JSON pointer writes it.
std::string Escaped(std::string_view name) {
  std::string escaped;
  for (const char c : name) {
    if (c == '~') {
      escaped += "~0";
    } else if (c == '/') {
      escaped += "~1";
    } else {
      escaped += c;
    }
  }
  return escaped;
}

std::string Unescaped(std::string_view token) {
  std::string name;
  for (size_t i = 0; i < token.size(); ++i) {
    const bool escape =
        token[i] == '~' && i + 1 < token.size() && (token[i + 1] == '0' || token[i + 1] == '1');
    name += escape ? (token[++i] == '0' ? '~' : '/') : token[i];
  }
  return name;
}

int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::string PercentDecoded(std::string_view text) {
  std::string decoded;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool escape = text[i] == '%' && i + 2 < text.size() && HexValue(text[i + 1]) >= 0 &&
                        HexValue(text[i + 2]) >= 0;
    if (escape) {
      decoded += static_cast<char>(HexValue(text[i + 1]) * 16 + HexValue(text[i + 2]));
      i += 2;
    } else {
      decoded += text[i];
    }
  }
  return decoded;
}

}  // namespace

const OrderedJson* Member(const OrderedJson& object, std::string_view key) {
  if (!object.is_object()) return nullptr;
  for (auto it = object.begin(); it != object.end(); ++it) {
    if (it.key() == key) return &*it;
  }
  return nullptr;
}

SchemaDocument::SchemaDocument(const OrderedJson& root, CompileBudget& budget)
    : root_(root), budget_(budget) {
  CheckSize(root, 0);
  AddSchema(root, "#");
  for (size_t i = 0; i < schemas_.size(); ++i) Check(*schemas_[i]);
  RefuseCycles();
}

// A schema must not come back to itself for the same value, by $ref, allOf, anyOf and oneOf alone:
// it would say nothing.
void SchemaDocument::RefuseCycles() const {
  enum : uint8_t { kOpen, kDone };
  std::unordered_map<const OrderedJson*, uint8_t> marks;
  std::vector<std::pair<const OrderedJson*, bool>> work;  // and whether its own are done
  for (auto it = schemas_.rbegin(); it != schemas_.rend(); ++it) work.emplace_back(*it, false);
  while (!work.empty()) {
    const auto [schema, done] = work.back();
    work.pop_back();
    if (done) {
      marks[schema] = kDone;
      continue;
    }
    const auto [mark, fresh] = marks.try_emplace(schema, kOpen);
    if (!fresh) continue;
    work.emplace_back(schema, true);
    const auto visit = [&](const OrderedJson& of, std::string_view keyword,
                           const OrderedJson* next) {
      const auto found = marks.find(next);
      if (found == marks.end()) {
        work.emplace_back(next, false);
      } else if (found->second == kOpen) {
        Refuse(of, keyword, "leads back to its own place");
      }
    };
    if (const OrderedJson* target = Target(*schema)) visit(*schema, "$ref", target);
    for (const char* keyword : {"allOf", "anyOf", "oneOf"}) {
      const OrderedJson* branches = Member(*schema, keyword);
      if (branches == nullptr) continue;
      for (const OrderedJson& branch : *branches) visit(*schema, keyword, &branch);
    }
  }
}

void SchemaDocument::CheckSize(const OrderedJson& value, int depth) {
  if (depth > kMaxDepth) throw Error("schema: nested deeper than {}", kMaxDepth);
  bytes_ += value.is_string() ? value.get_ref<const std::string&>().size() + 2 : 2;
  if (bytes_ > kMaxBytes) throw Error("schema: more than {} bytes", kMaxBytes);
  if (value.is_string() && !IsValidUtf8(value.get_ref<const std::string&>())) {
    throw Error("schema: holds a string that is not valid UTF-8");
  }
  for (const auto& [name, member] : value.items()) {
    if (value.is_object() && !IsValidUtf8(name)) {
      throw Error("schema: holds a name that is not valid UTF-8");
    }
    if (value.is_object()) bytes_ += name.size() + 3;
    if (value.is_structured()) CheckSize(member, depth + 1);
  }
}

const OrderedJson* SchemaDocument::Target(const OrderedJson& schema) const {
  const auto found = targets_.find(&schema);
  return found == targets_.end() ? nullptr : found->second;
}

std::string SchemaDocument::PointerOf(const OrderedJson& schema) const {
  const auto found = pointers_.find(&schema);
  return found == pointers_.end() ? "#" : found->second;
}

void SchemaDocument::Refuse(const OrderedJson& schema, std::string_view keyword,
                            std::string_view why) const {
  throw Error("schema: {} {}", Printable(PointerOf(schema) + "/" + Escaped(keyword), 200), why);
}

void SchemaDocument::AddSchema(const OrderedJson& schema, const std::string& pointer) {
  budget_.Spend(4 + static_cast<int64_t>(pointer.size() / 16));
  if (pointers_.try_emplace(&schema, pointer).second) schemas_.push_back(&schema);
}

void SchemaDocument::AddSchemas(const OrderedJson& schema, const std::string& keyword) {
  const OrderedJson& value = *Member(schema, keyword);
  const std::string pointer = PointerOf(schema) + "/" + keyword + "/";
  size_t index = 0;
  for (auto it = value.begin(); it != value.end(); ++it, ++index) {
    AddSchema(*it, pointer + (value.is_object() ? Escaped(it.key()) : std::to_string(index)));
  }
}

void SchemaDocument::Check(const OrderedJson& schema) {
  if (schema.is_boolean()) return;
  if (!schema.is_object()) {
    throw Error("schema: {} is {} but must be an object, true or false",
                Printable(PointerOf(schema), 200), schema.type_name());
  }
  for (auto it = schema.begin(); it != schema.end(); ++it) {
    budget_.Spend(4);
    CheckKeyword(schema, it.key(), *it);
  }
}

void SchemaDocument::CheckKeyword(const OrderedJson& schema, const std::string& keyword,
                                  const OrderedJson& value) {
  if (keyword.starts_with("x-")) return;
  const auto found = Forms().find(keyword);
  const Form form = found == Forms().end() ? Form::kRefused : found->second;
  const auto demand = [&](bool holds, std::string_view expected) {
    if (holds) return;
    const std::string shown = value.dump(-1, ' ', true, OrderedJson::error_handler_t::replace);
    Refuse(schema, keyword, fmt::format("is {} but must be {}", Printable(shown, 60), expected));
  };
  switch (form) {
    case Form::kAnnotation:
    case Form::kAnyValue:
      break;
    case Form::kRefused:
      Refuse(schema, keyword, "is not supported: answers could not be held to it");
    case Form::kType: {
      bool valid = IsTypeName(value) || (value.is_array() && !value.empty());
      if (value.is_array()) {
        for (const OrderedJson& name : value) valid = valid && IsTypeName(name);
      }
      demand(valid, "the name of a JSON type or a list of such");
      break;
    }
    case Form::kEnum:
      demand(value.is_array() && !value.empty(), "a list of values, not empty");
      break;
    case Form::kCount:
      demand(value.is_number() && value.get<double>() >= 0 &&
                 std::floor(value.get<double>()) == value.get<double>(),
             "a whole number, not negative");
      break;
    case Form::kNumber:
      demand(value.is_number() && std::isfinite(value.get<double>()), "a number");
      break;
    case Form::kMultiple:
      demand(value.is_number() && value.get<double>() > 0, "a number above 0");
      break;
    case Form::kString:
      demand(value.is_string(), "a string");
      break;
    case Form::kFormat:
      demand(IsFormatName(value), "the name of a format that can be enforced");
      break;
    case Form::kBool:
      demand(value.is_boolean(), "true or false");
      break;
    case Form::kNames: {
      bool valid = value.is_array();
      if (valid) {
        for (const OrderedJson& name : value) valid = valid && name.is_string();
      }
      demand(valid, "a list of names");
      break;
    }
    case Form::kSchema:
      AddSchema(value, PointerOf(schema) + "/" + keyword);
      break;
    case Form::kSchemas:
      demand(value.is_array() && !value.empty(), "a list of schemas, not empty");
      AddSchemas(schema, keyword);
      break;
    case Form::kSchemaOrArray:
      if (value.is_array()) {
        AddSchemas(schema, keyword);
      } else {
        AddSchema(value, PointerOf(schema) + "/" + keyword);
      }
      break;
    case Form::kSchemaMap:
      demand(value.is_object(), "an object of schemas");
      AddSchemas(schema, keyword);
      break;
    case Form::kRef:
      demand(value.is_string(), "a string");
      Resolve(schema, value.get_ref<const std::string&>());
      break;
    case Form::kUniqueItems:
      demand(value.is_boolean(), "true or false");
      CheckUniqueItems(schema, value);
      break;
    case Form::kUnevaluated:
      if (!value.is_boolean() || !value.get<bool>()) {
        Refuse(schema, keyword, "is not supported: answers could not be held to it");
      }
      break;
  }
}

void SchemaDocument::CheckUniqueItems(const OrderedJson& schema, const OrderedJson& value) const {
  const OrderedJson* max = Member(schema, "maxItems");
  const bool at_most_one = max != nullptr && max->is_number() && max->get<double>() <= 1;
  if (value.get<bool>() && !at_most_one) {
    Refuse(schema, "uniqueItems", "cannot be enforced while an answer is generated");
  }
}

void SchemaDocument::Resolve(const OrderedJson& schema, const std::string& ref) {
  if (ref != "#" && !ref.starts_with("#/")) {
    Refuse(schema, "$ref",
           fmt::format("is '{}' but must be a place of this schema, like '#/$defs/name'",
                       Printable(ref)));
  }
  const OrderedJson* target = &root_;
  const std::string path = PercentDecoded(std::string_view(ref).substr(1));
  for (size_t at = 0; at < path.size();) {
    const size_t end = std::min(path.find('/', at + 1), path.size());
    const std::string name = Unescaped(std::string_view(path).substr(at + 1, end - at - 1));
    at = end;
    const OrderedJson* next = nullptr;
    if (target->is_object()) {
      next = Member(*target, name);
    } else if (target->is_array() && !name.empty() && name.size() < 8 &&
               name.find_first_not_of("0123456789") == std::string::npos) {
      const size_t index = std::stoul(name);
      if (index < target->size()) next = &(*target)[index];
    }
    budget_.Spend(2 + static_cast<int64_t>(target->size() / 4));
    if (next == nullptr) {
      Refuse(schema, "$ref", fmt::format("is '{}', which does not exist", Printable(ref)));
    }
    target = next;
  }
  targets_[&schema] = target;
  AddSchema(*target, ref);
}

}  // namespace cadre
