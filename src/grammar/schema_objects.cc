// The part of SchemaRules for objects.
#include <algorithm>
#include <unordered_set>

#include "base/error.h"
#include "base/json.h"
#include "grammar/schema_rules.h"
#include "grammar/spell.h"

namespace cadre {
namespace {

constexpr size_t kMaxPatterns = 5;  // of one object's names: each may match or not

bool SaysNothingOfObjects(const OrderedJson& schema) {
  for (const char* keyword : {"properties", "required", "additionalProperties", "patternProperties",
                              "propertyNames", "minProperties", "maxProperties"}) {
    if (Member(schema, keyword) != nullptr) return false;
  }
  return true;
}

}  // namespace

void SchemaRules::AddObject(int32_t from, const Conjunction& conjunction, int32_t to) {
  const bool free = std::all_of(conjunction.begin(), conjunction.end(), [](const Part& part) {
    return SaysNothingOfObjects(*part.schema);
  });
  grammar_.AddCall(from, free ? json_.Object() : ObjectRule(conjunction), to);
}

// States (next declared property, number of properties so far); the numbers end where they no more
// make a difference.
int32_t SchemaRules::ObjectRule(const Conjunction& conjunction) {
  const int32_t rule = grammar_.AddRule(true);
  const int32_t min = Least(conjunction, "minProperties");
  const int32_t max = Most(conjunction, "maxProperties");
  const std::vector<std::string> names = DeclaredNames(conjunction);
  const auto num_names = static_cast<int32_t>(names.size());
  std::unordered_set<std::string> required;
  for (const Part& part : conjunction) {
    const OrderedJson* list = Member(*part.schema, "required");
    if (list == nullptr) continue;
    for (const OrderedJson& name : *list) required.insert(name.get_ref<const std::string&>());
  }
  const std::vector<ExtraProperties> extras = ExtrasOf(conjunction, names);
  // Of properties with free names two may have the same, and then count once.
  if (min > num_names + (extras.empty() ? 0 : 1)) {
    for (const Part& part : conjunction) {
      if (Member(*part.schema, "minProperties") == nullptr) continue;
      document_.Refuse(*part.schema, "minProperties",
                       "cannot be enforced beyond the declared properties and one other");
    }
  }
  const int32_t counted = std::max({min, std::min(max, num_names), 1});  // max < 0: none
  const int32_t width = std::min(counted, num_names) + 1;
  budget_.Spend(int64_t{width} * (num_names + 1) * 8);
  std::vector<int32_t> states(static_cast<size_t>(width) * (names.size() + 1));
  for (int32_t& state : states) state = grammar_.AddState();
  const auto state_at = [&](int32_t name, int32_t count) {
    return states[static_cast<size_t>(name * width + std::min(count, width - 1))];
  };
  grammar_.AddLiteral(grammar_.rule(rule).start, "{", state_at(0, 0));
  const auto add_member = [&](int32_t at, int32_t count, int32_t member, int32_t next) {
    int32_t start = at;
    if (count > 0) {
      start = grammar_.AddState();
      json_.AddSeparator(at, ',', start);
    }
    grammar_.AddCall(start, member, next);
  };
  for (int32_t i = 0; i < num_names; ++i) {
    const std::string& name = names[static_cast<size_t>(i)];
    const bool may_be = MayBeNamed(conjunction, name);
    const int32_t member = may_be ? MemberRule(name, PropertyValue(conjunction, name)) : -1;
    for (int32_t count = 0; count < width && count <= i; ++count) {
      const int32_t at = state_at(i, count);
      if (!required.contains(name)) grammar_.AddEmpty(at, state_at(i + 1, count));
      const bool full = max != Grammar::kUnlimited && count >= max;
      if (member >= 0 && !full) add_member(at, count, member, state_at(i + 1, count + 1));
    }
  }
  const int32_t close = grammar_.AddState();
  grammar_.AddLiteral(close, "}", grammar_.rule(rule).end);
  const int32_t member = extras.empty() ? -1 : ExtraMemberRule(extras);
  int32_t more = -1;
  if (member >= 0) {
    more = grammar_.AddRule();
    add_member(grammar_.rule(more).start, 1, member, grammar_.rule(more).end);
  }
  for (int32_t count = 0; count < width; ++count) {
    const int32_t at = state_at(num_names, count);
    if (count >= min) grammar_.AddEmpty(at, close);
    const int32_t room = max == Grammar::kUnlimited ? max : std::max(max - count, 0);
    if (member < 0 || room == 0 || count + 1 < min) continue;
    const int32_t first = grammar_.AddState();
    add_member(at, count, member, first);
    grammar_.AddRepeat(first, more, 0, room == Grammar::kUnlimited ? room : room - 1, close);
  }
  return rule;
}

std::vector<std::string> SchemaRules::DeclaredNames(const Conjunction& conjunction) const {
  std::vector<std::string> names;
  std::unordered_set<std::string> seen;
  const auto add = [&](const std::string& name) {
    if (seen.insert(name).second) names.push_back(name);
  };
  for (const Part& part : conjunction) {
    const OrderedJson* properties = Member(*part.schema, "properties");
    if (properties == nullptr) continue;
    for (auto it = properties->begin(); it != properties->end(); ++it) add(it.key());
  }
  for (const Part& part : conjunction) {
    const OrderedJson* required = Member(*part.schema, "required");
    if (required == nullptr) continue;
    for (const OrderedJson& name : *required) add(name.get_ref<const std::string&>());
  }
  return names;
}

// What the value of a property of this name must satisfy.
SchemaRules::Conjunction SchemaRules::PropertyValue(const Conjunction& conjunction,
                                                    const std::string& name) {
  Conjunction value;
  for (const Part& part : conjunction) {
    const OrderedJson* schema = part.schema;
    bool covered = false;
    if (const OrderedJson* properties = Member(*schema, "properties")) {
      budget_.Spend(static_cast<int64_t>(properties->size() / 8));
      if (const OrderedJson* property = Member(*properties, name)) {
        value.push_back({property});
        covered = true;
      }
    }
    if (const OrderedJson* patterns = Member(*schema, "patternProperties")) {
      for (auto it = patterns->begin(); it != patterns->end(); ++it) {
        if (!Accepts(texts_.Pattern(it.key()), name)) continue;
        value.push_back({&*it});
        covered = true;
      }
    }
    const OrderedJson* additional = Member(*schema, "additionalProperties");
    if (!covered && additional != nullptr) value.push_back({additional});
  }
  return value;
}

bool SchemaRules::MayBeNamed(const Conjunction& conjunction, const std::string& name) {
  for (const Part& part : conjunction) {
    const OrderedJson* names = Member(*part.schema, "propertyNames");
    if (names != nullptr && !values_.Satisfies(OrderedJson(name), *names)) return false;
  }
  return true;
}

// The names that are not declared; nothing where that is any name at all.
std::optional<TextDfa> SchemaRules::FreeNames(const Conjunction& conjunction,
                                              const std::vector<std::string>& declared) {
  std::optional<TextDfa> names;
  for (const Part& part : conjunction) {
    const OrderedJson* of_names = Member(*part.schema, "propertyNames");
    if (of_names == nullptr) continue;
    const std::optional<Conjunction> flat = Flatten({{of_names}});
    std::optional<TextDfa> texts = TextDfa{};
    if (flat && (TypesOf(*flat) & kString) != 0) {
      texts = TextsOf(*flat, true);
      for (const Part& inner : *flat) {
        for (const char* keyword : {"anyOf", "oneOf"}) {
          if (Member(*inner.schema, keyword) == nullptr) continue;
          document_.Refuse(*inner.schema, keyword, "cannot be enforced on names");
        }
        std::vector<std::string> listed;
        const OrderedJson* values = Member(*inner.schema, "enum");
        const OrderedJson* constant = Member(*inner.schema, "const");
        if (constant == nullptr && values == nullptr) continue;
        const OrderedJson one = constant != nullptr ? OrderedJson::array({*constant}) : *values;
        for (const OrderedJson& value : one) {
          if (value.is_string()) listed.push_back(value.get<std::string>());
        }
        const TextDfa of_list = OneOfTexts(listed, budget_);
        texts = texts ? Intersect(*texts, of_list, budget_) : of_list;
      }
    }
    if (texts) names = names ? Intersect(*names, *texts, budget_) : *texts;
  }
  if (declared.empty()) return names;
  return Subtract(names ? *names : AnyText(), OneOfTexts(declared, budget_), budget_);
}

std::vector<SchemaRules::ExtraProperties> SchemaRules::ExtrasOf(
    const Conjunction& conjunction, const std::vector<std::string>& declared) {
  std::vector<std::string> patterns;
  for (const Part& part : conjunction) {
    const OrderedJson* of_part = Member(*part.schema, "patternProperties");
    if (of_part == nullptr) continue;
    for (auto it = of_part->begin(); it != of_part->end(); ++it) {
      try {
        texts_.Pattern(it.key());
      } catch (const Error& error) {
        document_.Refuse(*part.schema, "patternProperties",
                         fmt::format("is refused: {}", error.what()));
      }
      if (std::find(patterns.begin(), patterns.end(), it.key()) == patterns.end()) {
        patterns.push_back(it.key());
      }
    }
    if (patterns.size() > kMaxPatterns) {
      document_.Refuse(*part.schema, "patternProperties", "are too many to be enforced");
    }
  }
  std::vector<ExtraProperties> extras;
  // Names by which of the patterns they match.
  for (size_t matched = 0; matched < size_t{1} << patterns.size(); ++matched) {
    Conjunction value;
    for (const Part& part : conjunction) {
      const OrderedJson* schema = part.schema;
      bool covered = false;
      const OrderedJson* of_part = Member(*schema, "patternProperties");
      for (size_t p = 0; of_part != nullptr && p < patterns.size(); ++p) {
        const OrderedJson* property = Member(*of_part, patterns[p]);
        if (property == nullptr || (matched >> p & 1) == 0) continue;
        value.push_back({property});
        covered = true;
      }
      const OrderedJson* additional = Member(*schema, "additionalProperties");
      if (!covered && additional != nullptr) value.push_back({additional});
    }
    if (!Flatten(value)) continue;
    std::optional<TextDfa> names = FreeNames(conjunction, declared);
    for (size_t p = 0; p < patterns.size(); ++p) {
      const TextDfa& pattern = texts_.Pattern(patterns[p]);
      const TextDfa all = names ? *names : AnyText();
      names = (matched >> p & 1) != 0 ? Intersect(all, pattern, budget_)
                                      : Subtract(all, pattern, budget_);
    }
    if (names && names->states.empty()) continue;
    extras.push_back({std::move(names), std::move(value)});
  }
  return extras;
}

int32_t SchemaRules::MemberRule(const std::string& name, const Conjunction& value) {
  const int32_t rule = grammar_.AddRule();
  const int32_t value_start = grammar_.AddState();
  json_.AddSeparator(grammar_.AddLiteral(grammar_.rule(rule).start, QuotedJson(name)), ':',
                     value_start);
  grammar_.AddCall(value_start, RuleFor(value), grammar_.rule(rule).end);
  return rule;
}

int32_t SchemaRules::ExtraMemberRule(const std::vector<ExtraProperties>& extras) {
  const int32_t rule = grammar_.AddRule();
  for (const ExtraProperties& extra : extras) {
    const int32_t name_end = grammar_.AddState();
    const int32_t value_start = grammar_.AddState();
    if (extra.names) {
      const int32_t open = grammar_.AddLiteral(grammar_.rule(rule).start, "\"");
      const int32_t close = grammar_.AddState();
      AddText(grammar_, *extra.names, Spelling::kJson, open, close);
      grammar_.AddLiteral(close, "\"", name_end);
    } else {
      grammar_.AddCall(grammar_.rule(rule).start, json_.String(), name_end);
    }
    json_.AddSeparator(name_end, ':', value_start);
    grammar_.AddCall(value_start, RuleFor(extra.value), grammar_.rule(rule).end);
  }
  return rule;
}

}  // namespace cadre
