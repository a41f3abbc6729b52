// Whether a value that is there satisfies a schema: for the values that a schema itself lists, and
// for what a test or fuzzer has generated.
#pragma once

#include "base/json_fwd.h"
#include "grammar/schema_document.h"
#include "grammar/schema_texts.h"

namespace cadre {

class SchemaValues {
 public:
  SchemaValues(const SchemaDocument& document, SchemaTexts& texts, CompileBudget& budget)
      : document_(document), texts_(texts), budget_(budget) {}

  // `schema` is the document's root or reachable from there.
  bool Satisfies(const OrderedJson& value, const OrderedJson& schema);

 private:
  bool SatisfiesKeyword(const OrderedJson& value, const OrderedJson& schema,
                        const std::string& keyword, const OrderedJson& wanted);
  bool SatisfiesNumber(const OrderedJson& value, const std::string& keyword,
                       const OrderedJson& wanted);
  bool SatisfiesString(const OrderedJson& value, const std::string& keyword,
                       const OrderedJson& wanted);
  bool SatisfiesArray(const OrderedJson& value, const OrderedJson& schema,
                      const std::string& keyword, const OrderedJson& wanted);
  bool SatisfiesObject(const OrderedJson& value, const OrderedJson& schema,
                       const std::string& keyword, const OrderedJson& wanted);

  const SchemaDocument& document_;
  SchemaTexts& texts_;
  CompileBudget& budget_;
  int depth_ = 0;
};

// Numbers are equal by value, objects whatever their order.
bool JsonEqual(const OrderedJson& a, const OrderedJson& b);
// Of "type": integer is what has no fraction, 1.0 too.
bool HasJsonType(const OrderedJson& value, std::string_view type);

}  // namespace cadre
