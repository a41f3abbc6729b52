#include "grammar/schema_rules.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/json.h"

namespace cadre {

int32_t SchemaRules::Compile(bool object) {
  static const OrderedJson kAnyObject = {{"type", "object"}};
  Conjunction conjunction = {{&document_.root()}};
  if (object) conjunction.push_back({&kAnyObject});
  const int32_t rule = RuleFor(conjunction);
  while (!unbuilt_.empty()) {
    const auto [next, parts] = std::move(unbuilt_.back());
    unbuilt_.pop_back();
    Build(next, parts);
  }
  return rule;
}

int32_t SchemaRules::RuleFor(const Conjunction& conjunction) {
  std::optional<Conjunction> flat = Flatten(conjunction);
  if (!flat) return grammar_.AddRule();  // without any text
  if (flat->empty()) return json_.Value();
  Conjunction key = *flat;
  std::sort(key.begin(), key.end());
  budget_.Spend(16 + 8 * static_cast<int64_t>(key.size()));
  const auto [found, fresh] = rule_of_.try_emplace(std::move(key), -1);
  if (fresh) {
    found->second = grammar_.AddRule();
    unbuilt_.emplace_back(found->second, std::move(*flat));
  }
  return found->second;
}

std::optional<SchemaRules::Conjunction> SchemaRules::Flatten(const Conjunction& conjunction) {
  Conjunction flat;
  std::set<Part> seen;
  std::vector<Part> open(conjunction.rbegin(), conjunction.rend());
  while (!open.empty()) {
    Part part = open.back();
    open.pop_back();
    budget_.Spend(8);
    if (part.schema->is_boolean() || part.schema->empty()) {
      if (part.schema->is_boolean() && !part.schema->get<bool>()) return std::nullopt;
      continue;
    }
    const bool followed = std::exchange(part.followed, true);
    if (!seen.insert(part).second) continue;
    flat.push_back(part);
    if (followed) continue;
    if (const OrderedJson* all = Member(*part.schema, "allOf")) {
      for (auto it = all->rbegin(); it != all->rend(); ++it) open.push_back({&*it});
    }
    if (const OrderedJson* target = document_.Target(*part.schema)) open.push_back({target});
  }
  return flat;
}

void SchemaRules::Build(int32_t rule, const Conjunction& conjunction) {
  if (BuildChoice(rule, conjunction) || BuildValues(rule, conjunction)) return;
  const uint8_t types = TypesOf(conjunction);
  const int32_t start = grammar_.rule(rule).start;
  const int32_t end = grammar_.rule(rule).end;
  if (types & kNull) grammar_.AddLiteral(start, "null", end);
  if (types & kBoolean) {
    grammar_.AddLiteral(start, "true", end);
    grammar_.AddLiteral(start, "false", end);
  }
  if (types & kInteger) AddNumber(start, conjunction, (types & kFraction) == 0, end);
  if (types & kString) AddString(start, conjunction, end);
  if (types & kArray) AddArray(start, conjunction, end);
  if (types & kObject) AddObject(start, conjunction, end);
}

// The first anyOf or oneOf that is still open divides the conjunction.
bool SchemaRules::BuildChoice(int32_t rule, const Conjunction& conjunction) {
  for (size_t i = 0; i < conjunction.size(); ++i) {
    const Part& part = conjunction[i];
    const OrderedJson* any_of = part.any_of_chosen ? nullptr : Member(*part.schema, "anyOf");
    const OrderedJson* one_of = part.one_of_chosen ? nullptr : Member(*part.schema, "oneOf");
    const OrderedJson* branches = any_of != nullptr ? any_of : one_of;
    if (branches == nullptr) continue;
    Conjunction chosen = conjunction;
    (any_of != nullptr ? chosen[i].any_of_chosen : chosen[i].one_of_chosen) = true;
    if (any_of == nullptr) DemandDisjoint(chosen, *part.schema);
    for (const OrderedJson& branch : *branches) {
      chosen.push_back({&branch});
      grammar_.AddCall(grammar_.rule(rule).start, RuleFor(chosen), grammar_.rule(rule).end);
      chosen.pop_back();
    }
    return true;
  }
  return false;
}

// Of values that are listed those that satisfy all the rest.
bool SchemaRules::BuildValues(int32_t rule, const Conjunction& conjunction) {
  const OrderedJson* listed = nullptr;
  const OrderedJson* constant = nullptr;
  for (const Part& part : conjunction) {
    if (constant == nullptr) constant = Member(*part.schema, "const");
    if (listed == nullptr) listed = Member(*part.schema, "enum");
  }
  if (constant == nullptr && listed == nullptr) return false;
  const auto add = [&](const OrderedJson& value) {
    for (const Part& part : conjunction) {
      if (!values_.Satisfies(value, *part.schema)) return;
    }
    json_.AddValue(grammar_.rule(rule).start, value, grammar_.rule(rule).end);
  };
  if (constant != nullptr) {
    add(*constant);
  } else {
    for (const OrderedJson& value : *listed) add(value);
  }
  return true;
}

uint8_t SchemaRules::TypesOf(const Conjunction& conjunction) const {
  static const std::map<std::string_view, uint8_t> kBits = {
      {"null", kNull},       {"boolean", kBoolean},
      {"integer", kInteger}, {"number", kInteger | kFraction},
      {"string", kString},   {"array", kArray},
      {"object", kObject}};
  unsigned types = kAllTypes;
  for (const Part& part : conjunction) {
    const OrderedJson* type = Member(*part.schema, "type");
    if (type == nullptr) continue;
    unsigned allowed = 0;
    const auto allow = [&](const OrderedJson& name) {
      allowed |= kBits.at(name.get_ref<const std::string&>());
    };
    if (type->is_string()) {
      allow(*type);
    } else {
      for (const OrderedJson& name : *type) allow(name);
    }
    const OrderedJson* nullable = Member(*part.schema, "nullable");
    if (nullable != nullptr && nullable->get<bool>()) allowed |= kNull;
    types &= allowed;
  }
  return static_cast<uint8_t>(types);
}

int32_t SchemaRules::Least(const Conjunction& conjunction, const char* keyword) const {
  double least = 0;
  for (const Part& part : conjunction) {
    const OrderedJson* value = Member(*part.schema, keyword);
    if (value == nullptr) continue;
    least = std::max(least, value->get<double>());
    if (least >= INT32_MAX) document_.Refuse(*part.schema, keyword, "is more than can be counted");
  }
  return static_cast<int32_t>(least);
}

// No answer reaches 2^31, so that many and more are no bound.
int32_t SchemaRules::Most(const Conjunction& conjunction, const char* keyword) const {
  double most = INT32_MAX;
  for (const Part& part : conjunction) {
    const OrderedJson* value = Member(*part.schema, keyword);
    if (value != nullptr) most = std::min(most, value->get<double>());
  }
  return most >= INT32_MAX ? Grammar::kUnlimited : static_cast<int32_t>(most);
}

}  // namespace cadre
