// The part of SchemaRules that shows that the branches of a oneOf exclude each other: only then is
// any of them as good as exactly one of them.
#include "base/error.h"
#include "base/json.h"
#include "grammar/schema_rules.h"

namespace cadre {
namespace {

constexpr int kMaxDepth = 6;

}  // namespace

void SchemaRules::DemandDisjoint(const Conjunction& rest, const OrderedJson& schema) {
  const OrderedJson& branches = *Member(schema, "oneOf");
  for (size_t i = 0; i < branches.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      Conjunction a = rest;
      Conjunction b = rest;
      a.push_back({&branches[i]});
      b.push_back({&branches[j]});
      if (AreDisjoint(a, b, 0)) continue;
      document_.Refuse(schema, "oneOf",
                       fmt::format("cannot be enforced: branches {} and {} may both be "
                                   "satisfied; anyOf is supported",
                                   j, i));
    }
  }
}

bool SchemaRules::AreDisjoint(const Conjunction& a, const Conjunction& b, int depth) {
  if (depth > kMaxDepth) return false;
  const std::optional<Conjunction> flat_a = Flatten(a);
  const std::optional<Conjunction> flat_b = Flatten(b);
  if (!flat_a || !flat_b) return true;
  const uint8_t common = TypesOf(*flat_a) & TypesOf(*flat_b);
  if ((common & ~kFraction) == 0) return true;  // a number without integers does not exist
  if (AreDisjointByValues(*flat_a, *flat_b) || AreDisjointByValues(*flat_b, *flat_a)) return true;
  if (common == kObject && AreDisjointByProperties(*flat_a, *flat_b, depth)) return true;
  // Where one is a choice, each of its branches must be disjoint from the other.
  for (const bool swapped : {false, true}) {
    const Conjunction& chooser = swapped ? *flat_b : *flat_a;
    for (size_t i = 0; i < chooser.size(); ++i) {
      for (const bool any_of : {true, false}) {
        if (any_of ? chooser[i].any_of_chosen : chooser[i].one_of_chosen) continue;
        const OrderedJson* branches = Member(*chooser[i].schema, any_of ? "anyOf" : "oneOf");
        if (branches == nullptr) continue;
        Conjunction chosen = chooser;
        (any_of ? chosen[i].any_of_chosen : chosen[i].one_of_chosen) = true;
        bool all = true;
        for (const OrderedJson& branch : *branches) {
          chosen.push_back({&branch});
          all = all && AreDisjoint(chosen, swapped ? *flat_a : *flat_b, depth + 1);
          chosen.pop_back();
        }
        if (all) return true;
      }
    }
  }
  return false;
}

// By the values that `a` lists.
bool SchemaRules::AreDisjointByValues(const Conjunction& a, const Conjunction& b) {
  const auto satisfies = [&](const OrderedJson& value, const Conjunction& all) {
    for (const Part& part : all) {
      // One that is being looked at may hold the very oneOf that is in question.
      if (part.any_of_chosen || part.one_of_chosen) continue;
      if (!values_.Satisfies(value, *part.schema)) return false;
    }
    return true;
  };
  for (const Part& part : a) {
    const OrderedJson* constant = Member(*part.schema, "const");
    const OrderedJson* listed = Member(*part.schema, "enum");
    if (constant == nullptr && listed == nullptr) continue;
    if (constant != nullptr) return !satisfies(*constant, a) || !satisfies(*constant, b);
    for (const OrderedJson& value : *listed) {
      if (satisfies(value, a) && satisfies(value, b)) return false;
    }
    return true;
  }
  return false;
}

// Of objects: one must have a property that the other excludes, or whose values differ.
bool SchemaRules::AreDisjointByProperties(const Conjunction& a, const Conjunction& b, int depth) {
  for (const bool swapped : {false, true}) {
    for (const Part& part : swapped ? b : a) {
      const OrderedJson* required = Member(*part.schema, "required");
      if (required == nullptr) continue;
      for (const OrderedJson& name : *required) {
        const std::string& text = name.get_ref<const std::string&>();
        budget_.Spend(16);
        if (!MayBeNamed(a, text) || !MayBeNamed(b, text)) return true;
        if (AreDisjoint(PropertyValue(a, text), PropertyValue(b, text), depth + 1)) return true;
      }
    }
  }
  return false;
}

}  // namespace cadre
