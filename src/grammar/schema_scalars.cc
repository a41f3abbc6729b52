// The part of SchemaRules for numbers and strings.
#include "base/error.h"
#include "base/json.h"
#include "grammar/schema_rules.h"
#include "grammar/spell.h"

namespace cadre {
namespace {

// The tighter of a bound and another: the larger minimum, the smaller maximum.
void Tighten(std::optional<DecimalBound>& bound, const DecimalBound& other, bool is_min) {
  if (bound) {
    const int order = CompareDecimals(other, *bound);
    if (order == 0) bound->excluded = bound->excluded || other.excluded;
    if (order == 0 || (order > 0) != is_min) return;
  }
  bound = other;
}

}  // namespace

void SchemaRules::AddNumber(int32_t from, const Conjunction& conjunction, bool integer,
                            int32_t to) {
  DecimalRange range;
  range.integer = integer;
  for (const Part& part : conjunction) {
    const OrderedJson* schema = part.schema;
    const auto bound = [&](const char* keyword, bool is_min, bool excluded) {
      const OrderedJson* value = Member(*schema, keyword);
      if (value == nullptr) return;
      Tighten(is_min ? range.min : range.max, ParseDecimal(*value, excluded), is_min);
    };
    bound("minimum", true, false);
    bound("exclusiveMinimum", true, true);
    bound("maximum", false, false);
    bound("exclusiveMaximum", false, true);
    const OrderedJson* format = Member(*schema, "format");
    if (format != nullptr && (*format == "int32" || *format == "int64")) {
      const DecimalRange of_format = IntegerFormat(*format == "int32");
      Tighten(range.min, *of_format.min, true);
      Tighten(range.max, *of_format.max, false);
      range.integer = true;
    }
    if (const OrderedJson* multiple = Member(*schema, "multipleOf")) {
      DecimalRange other;
      if (!SetMultiple(*multiple, other)) {
        document_.Refuse(*schema, "multipleOf", "has too many digits to be enforced");
      }
      const bool differs = other.multiple != range.multiple || other.scale != range.scale;
      if (range.multiple > 0 && differs) {
        document_.Refuse(*schema, "multipleOf", "cannot be enforced together with another one");
      }
      range.multiple = other.multiple;
      range.scale = other.scale;
    }
  }
  if (!range.min && !range.max && range.multiple == 0) {
    grammar_.AddCall(from, range.integer ? json_.Integer() : json_.Number(), to);
  } else {
    AddDecimals(grammar_, range, from, to, budget_);
  }
}

void SchemaRules::AddString(int32_t from, const Conjunction& conjunction, int32_t to) {
  const std::optional<TextDfa> texts = TextsOf(conjunction, false);
  const int32_t open = grammar_.AddLiteral(from, "\"");
  const int32_t close = grammar_.AddState();
  grammar_.AddLiteral(close, "\"", to);
  if (texts) return AddText(grammar_, *texts, Spelling::kJson, open, close);
  const int32_t min = Least(conjunction, "minLength");
  const int32_t max = Most(conjunction, "maxLength");
  if (max != Grammar::kUnlimited && min > max) return;
  grammar_.AddRepeat(open, json_.Character(), min, max, close);
}

std::optional<TextDfa> SchemaRules::TextsOf(const Conjunction& conjunction, bool counted) {
  std::optional<TextDfa> texts;
  const auto narrow = [&](const TextDfa& other) {
    texts = texts ? Intersect(*texts, other, budget_) : other;
  };
  for (const Part& part : conjunction) {
    const OrderedJson* schema = part.schema;
    const OrderedJson* pattern = Member(*schema, "pattern");
    const OrderedJson* format = Member(*schema, "format");
    try {
      if (pattern != nullptr) narrow(texts_.Pattern(pattern->get_ref<const std::string&>()));
    } catch (const Error& error) {
      document_.Refuse(*schema, "pattern", fmt::format("is refused: {}", error.what()));
    }
    if (format == nullptr) continue;
    const TextDfa* of_format = texts_.Format(format->get_ref<const std::string&>());
    if (of_format == nullptr) document_.Refuse(*schema, "format", "is no format of strings");
    narrow(*of_format);
  }
  const int32_t min = Least(conjunction, "minLength");
  const int32_t max = Most(conjunction, "maxLength");
  const bool bounded = min > 0 || max != Grammar::kUnlimited;
  if (!bounded || (!texts && !counted)) return texts;
  return WithLength(texts ? *texts : AnyText(), min, max, budget_);
}

}  // namespace cadre
