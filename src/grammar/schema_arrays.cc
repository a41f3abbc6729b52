// The part of SchemaRules for arrays.
#include <algorithm>

#include "base/error.h"
#include "base/json.h"
#include "grammar/schema_rules.h"

namespace cadre {
namespace {

// The schemas of the first items, one by one: "prefixItems", or "items" as older drafts have it.
const OrderedJson* PrefixOf(const OrderedJson& schema) {
  if (const OrderedJson* prefix = Member(schema, "prefixItems")) return prefix;
  const OrderedJson* items = Member(schema, "items");
  return items != nullptr && items->is_array() ? items : nullptr;
}

// That of all others.
const OrderedJson* RestOf(const OrderedJson& schema) {
  const OrderedJson* items = Member(schema, "items");
  if (items == nullptr || !items->is_array()) return items;
  return Member(schema, "additionalItems");
}

}  // namespace

// `index` beyond every prefix: of all the items that follow.
SchemaRules::Conjunction SchemaRules::ItemAt(const Conjunction& conjunction, size_t index) const {
  Conjunction item;
  for (const Part& part : conjunction) {
    const OrderedJson* schema = part.schema;
    const OrderedJson* prefix = PrefixOf(*schema);
    if (prefix != nullptr && index < prefix->size()) {
      item.push_back({&(*prefix)[index]});
    } else if (const OrderedJson* rest = RestOf(*schema)) {
      item.push_back({rest});
    }
  }
  return item;
}

void SchemaRules::AddArray(int32_t from, const Conjunction& conjunction, int32_t to) {
  const int32_t min = Least(conjunction, "minItems");
  const int32_t max = Most(conjunction, "maxItems");
  if (max != Grammar::kUnlimited && min > max) return;
  size_t prefix = 1;  // the first item has no comma before it
  for (const Part& part : conjunction) {
    const OrderedJson* schema = part.schema;
    const OrderedJson* schemas = PrefixOf(*schema);
    if (schemas != nullptr) prefix = std::max(prefix, schemas->size());
  }
  if (max != Grammar::kUnlimited) prefix = std::min(prefix, static_cast<size_t>(max));

  const int32_t rule = grammar_.AddRule(true);
  grammar_.AddCall(from, rule, to);
  const int32_t close = grammar_.AddState();
  grammar_.AddLiteral(close, "]", grammar_.rule(rule).end);
  int32_t at = grammar_.AddLiteral(grammar_.rule(rule).start, "[");
  const auto count = static_cast<int32_t>(prefix);
  for (int32_t i = 0; i < count; ++i) {
    if (i >= min) grammar_.AddEmpty(at, close);
    int32_t item = at;
    if (i > 0) {
      item = grammar_.AddState();
      json_.AddSeparator(at, ',', item);
    }
    at = grammar_.AddState();
    grammar_.AddCall(item, RuleFor(ItemAt(conjunction, static_cast<size_t>(i))), at);
  }
  const int32_t more = grammar_.AddRule();
  const int32_t item = grammar_.AddState();
  json_.AddSeparator(grammar_.rule(more).start, ',', item);
  grammar_.AddCall(item, RuleFor(ItemAt(conjunction, SIZE_MAX)), grammar_.rule(more).end);
  grammar_.AddRepeat(at, more, std::max(min - count, 0),
                     max == Grammar::kUnlimited ? max : max - count, close);
}

}  // namespace cadre
