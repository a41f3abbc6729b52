// A schema as rules of a grammar. The unit of work is a conjunction: schemas that one value must
// all satisfy. allOf and $ref make it longer, anyOf and oneOf divide it, and what is left has only
// keywords that can be merged. Conjunctions are numbered, so recursive schemas are recursive rules.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/json_fwd.h"
#include "grammar/compile_budget.h"
#include "grammar/decimal_range.h"
#include "grammar/grammar.h"
#include "grammar/json_rules.h"
#include "grammar/schema_document.h"
#include "grammar/schema_texts.h"
#include "grammar/schema_values.h"

namespace cadre {

class SchemaRules {
 public:
  // All must outlive this.
  SchemaRules(const SchemaDocument& document, Grammar& grammar, JsonRules& json, SchemaTexts& texts,
              CompileBudget& budget)
      : document_(document),
        grammar_(grammar),
        json_(json),
        texts_(texts),
        budget_(budget),
        values_(document, texts, budget) {}

  // The rule of the values that satisfy the document; with `object`, of the objects among them.
  // Throws Error: see CompileJsonSchema.
  int32_t Compile(bool object);

 private:
  struct Part {
    const OrderedJson* schema;
    bool any_of_chosen = false;  // its anyOf is met by another part already
    bool one_of_chosen = false;
    bool followed = false;  // what its allOf and $ref mean is among the parts
    friend auto operator<=>(const Part&, const Part&) = default;
  };
  using Conjunction = std::vector<Part>;
  // A bit per type.
  enum Types : uint8_t {
    kNull = 1,
    kBoolean = 2,
    kInteger = 4,
    kFraction = 8,  // with kInteger: any number
    kString = 16,
    kArray = 32,
    kObject = 64,
    kAllTypes = 127,
  };
  // The properties of an object whose names are declared nowhere but match `names`.
  struct ExtraProperties {
    std::optional<TextDfa> names;  // any, where there is none
    Conjunction value;
  };

  // schema_rules.cc
  int32_t RuleFor(const Conjunction& conjunction);
  void Build(int32_t rule, const Conjunction& conjunction);
  bool BuildChoice(int32_t rule, const Conjunction& conjunction);
  bool BuildValues(int32_t rule, const Conjunction& conjunction);
  // Follows allOf and $ref. Nothing where some part is never satisfied.
  std::optional<Conjunction> Flatten(const Conjunction& conjunction);
  uint8_t TypesOf(const Conjunction& conjunction) const;
  // The largest "minX" and the smallest "maxX" of all parts; -1 for no maximum.
  int32_t Least(const Conjunction& conjunction, const char* keyword) const;
  int32_t Most(const Conjunction& conjunction, const char* keyword) const;

  // schema_scalars.cc
  void AddNumber(int32_t from, const Conjunction& conjunction, bool integer, int32_t to);
  void AddString(int32_t from, const Conjunction& conjunction, int32_t to);
  // What pattern, format and, where there is one of those or `counted`, lengths allow.
  std::optional<TextDfa> TextsOf(const Conjunction& conjunction, bool counted);

  // schema_arrays.cc
  void AddArray(int32_t from, const Conjunction& conjunction, int32_t to);
  Conjunction ItemAt(const Conjunction& conjunction, size_t index) const;

  // schema_objects.cc
  void AddObject(int32_t from, const Conjunction& conjunction, int32_t to);
  int32_t ObjectRule(const Conjunction& conjunction);
  Conjunction PropertyValue(const Conjunction& conjunction, const std::string& name);
  bool MayBeNamed(const Conjunction& conjunction, const std::string& name);
  std::vector<std::string> DeclaredNames(const Conjunction& conjunction) const;
  std::vector<ExtraProperties> ExtrasOf(const Conjunction& conjunction,
                                        const std::vector<std::string>& declared);
  std::optional<TextDfa> FreeNames(const Conjunction& conjunction,
                                   const std::vector<std::string>& declared);
  int32_t MemberRule(const std::string& name, const Conjunction& value);
  int32_t ExtraMemberRule(const std::vector<ExtraProperties>& extras);

  // schema_disjoint.cc: whether it can be shown that no value satisfies both.
  void DemandDisjoint(const Conjunction& rest, const OrderedJson& schema);
  bool AreDisjoint(const Conjunction& a, const Conjunction& b, int depth);
  bool AreDisjointByValues(const Conjunction& a, const Conjunction& b);
  bool AreDisjointByProperties(const Conjunction& a, const Conjunction& b, int depth);

  const SchemaDocument& document_;
  Grammar& grammar_;
  JsonRules& json_;
  SchemaTexts& texts_;
  CompileBudget& budget_;
  SchemaValues values_;
  std::map<Conjunction, int32_t> rule_of_;
  std::vector<std::pair<int32_t, Conjunction>> unbuilt_;
};

}  // namespace cadre
