// A JSON schema that was looked through: every part that can be reached holds only keywords that
// are known, with values of the right kind, and every $ref has a target. Known are
//   type, enum, const, anyOf, oneOf (where the branches exclude each other), allOf, $ref to a place
//   of the same document, nullable; minimum, maximum, exclusiveMinimum, exclusiveMaximum,
//   multipleOf; minLength, maxLength, pattern, format; items, prefixItems, additionalItems,
//   minItems, maxItems; properties, required, additionalProperties, patternProperties,
//   propertyNames, minProperties, maxProperties; and annotations. Everything else is refused by
//   name.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/json_fwd.h"
#include "grammar/compile_budget.h"

namespace cadre {

class SchemaDocument {
 public:
  static constexpr size_t kMaxBytes = size_t{1} << 20;  // of the text, about
  static constexpr int kMaxDepth = 128;

  // `root` must outlive this. Throws Error("schema: {pointer} ...").
  SchemaDocument(const OrderedJson& root, CompileBudget& budget);

  const OrderedJson& root() const { return root_; }
  // What the "$ref" of `schema` means; null where it has none.
  const OrderedJson* Target(const OrderedJson& schema) const;
  // Where a schema stands: "#/properties/name".
  std::string PointerOf(const OrderedJson& schema) const;
  // Throws Error("schema: {pointer of schema}/{keyword} {why}").
  [[noreturn]] void Refuse(const OrderedJson& schema, std::string_view keyword,
                           std::string_view why) const;

 private:
  void CheckSize(const OrderedJson& value, int depth);
  void Check(const OrderedJson& schema);
  void CheckKeyword(const OrderedJson& schema, const std::string& keyword,
                    const OrderedJson& value);
  void CheckUniqueItems(const OrderedJson& schema, const OrderedJson& value) const;
  void AddSchema(const OrderedJson& schema, const std::string& pointer);
  void AddSchemas(const OrderedJson& schema, const std::string& keyword);
  void Resolve(const OrderedJson& schema, const std::string& ref);
  void RefuseCycles() const;

  const OrderedJson& root_;
  CompileBudget& budget_;
  size_t bytes_ = 0;
  std::unordered_map<const OrderedJson*, std::string> pointers_;
  std::unordered_map<const OrderedJson*, const OrderedJson*> targets_;
  std::vector<const OrderedJson*> schemas_;  // as they were found
};

// The member of an object, or null.
const OrderedJson* Member(const OrderedJson& object, std::string_view key);

}  // namespace cadre
