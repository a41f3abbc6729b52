#include "grammar/decimal_range.h"

#include <algorithm>
#include <array>
#include <map>
#include <tuple>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "grammar/json_rules.h"

namespace cadre {
namespace {

constexpr int kMaxDigits = JsonRules::kMaxDigits;
// Of a number that may have a fraction, in all: so many keep their order and their difference from
// any bound when a reader rounds them to a double.
constexpr int kMaxDoubleDigits = 15;

// Bounds of a number without its sign.
struct Magnitudes {
  std::optional<DecimalBound> min;
  std::optional<DecimalBound> max;
};

int CompareMagnitudes(const DecimalBound& a, const DecimalBound& b) {
  if (a.whole.size() != b.whole.size()) return a.whole.size() < b.whole.size() ? -1 : 1;
  const int whole = a.whole.compare(b.whole);
  return whole != 0 ? whole : a.fraction.compare(b.fraction);
}

enum class Phase : uint8_t {
  kStart,
  kZero,   // "0" before the point: only the point may follow
  kWhole,  // digits before the point
  kPoint,  // the point: a digit must follow
  kFraction,
};

// What the digits so far decide.
struct Progress {
  Phase phase = Phase::kStart;
  int digits = 0;  // in this phase
  int whole = 0;   // before the point, once it was passed
  int min = 0;     // the digits compared to as many of the bound's: -1, 0, 1
  int max = 0;
  uint32_t remainder = 0;  // of the digits so far by the multiple

  auto Key() const { return std::tuple(phase, digits, whole, min, max, remainder); }
};

class DigitNetwork {
 public:
  DigitNetwork(const DecimalRange& range, const Magnitudes& bounds, CompileBudget& budget)
      : range_(range), bounds_(bounds), budget_(budget) {
    max_fraction_ = range.integer        ? 0
                    : range.multiple > 0 ? std::min(kMaxDigits, range.scale)
                                         : kMaxDigits;
  }

  void AddTo(Grammar& grammar, int32_t from, int32_t to) {
    Explore();
    const std::vector<bool> useful = FindUseful();
    std::vector<int32_t> state_of(nodes_.size(), -1);
    for (size_t i = 0; i < nodes_.size(); ++i) {
      if (useful[i]) state_of[i] = i == 0 ? from : grammar.AddState();
    }
    for (size_t i = 0; i < nodes_.size(); ++i) {
      if (!useful[i]) continue;
      if (Ends(nodes_[i].progress)) grammar.AddEmpty(state_of[i], to);
      for (const Step& step : nodes_[i].steps) {
        const int32_t target = state_of[static_cast<size_t>(step.target)];
        if (target >= 0) grammar.AddBytes(state_of[i], step.lo, step.hi, target);
      }
    }
  }

 private:
  struct Step {
    uint8_t lo;
    uint8_t hi;
    int32_t target;
  };
  struct Node {
    Progress progress;
    std::vector<Step> steps;
  };

  void Explore() {
    IdOf(Progress{});
    for (size_t i = 0; i < nodes_.size(); ++i) {
      const Progress progress = nodes_[i].progress;
      std::vector<Step> steps;
      for (uint8_t digit = 0; digit < 10; ++digit) {
        const std::optional<Progress> next = WithDigit(progress, digit);
        if (!next) continue;
        const int32_t target = IdOf(*next);
        const auto byte = static_cast<uint8_t>('0' + digit);
        if (!steps.empty() && steps.back().target == target && steps.back().hi + 1 == byte) {
          steps.back().hi = byte;
        } else {
          steps.push_back({byte, byte, target});
        }
      }
      const bool whole = progress.phase == Phase::kZero || progress.phase == Phase::kWhole;
      if (whole && max_fraction_ > 0) steps.push_back({'.', '.', IdOf(WithPoint(progress))});
      nodes_[i].steps = std::move(steps);
    }
  }

  int32_t IdOf(const Progress& progress) {
    budget_.Spend(2);
    const auto [found, fresh] =
        ids_.try_emplace(progress.Key(), static_cast<int32_t>(nodes_.size()));
    if (fresh) {
      budget_.Spend(4);
      nodes_.push_back({progress, {}});
    }
    return found->second;
  }

  // How a number compares to a bound when another digit follows those of `before`. With more digits
  // before the point it is the larger one, whatever they are.
  static int Compare(const std::optional<DecimalBound>& bound, bool fraction, int before,
                     int digits, uint8_t digit) {
    if (!bound) return 0;
    const std::string& of = fraction ? bound->fraction : bound->whole;
    const auto at = static_cast<size_t>(digits);
    if (!fraction && at >= of.size()) return 1;
    if (before != 0) return before;
    const int other = at < of.size() ? of[at] - '0' : 0;
    return digit < other ? -1 : digit > other ? 1 : 0;
  }

  std::optional<Progress> WithDigit(Progress progress, uint8_t digit) const {
    if (progress.phase == Phase::kZero) return std::nullopt;
    const bool fraction = progress.phase == Phase::kPoint || progress.phase == Phase::kFraction;
    if (fraction && progress.digits >= max_fraction_) return std::nullopt;
    const int in_all = progress.whole + progress.digits;
    if (in_all >= (range_.integer ? kMaxDigits : kMaxDoubleDigits)) return std::nullopt;
    progress.min = Compare(bounds_.min, fraction, progress.min, progress.digits, digit);
    progress.max = Compare(bounds_.max, fraction, progress.max, progress.digits, digit);
    if (range_.multiple > 0) {
      progress.remainder =
          static_cast<uint32_t>((uint64_t{progress.remainder} * 10 + digit) % range_.multiple);
    }
    if (progress.phase == Phase::kStart) {
      progress.phase = digit == 0 ? Phase::kZero : Phase::kWhole;
    } else if (progress.phase == Phase::kPoint) {
      progress.phase = Phase::kFraction;
    }
    ++progress.digits;
    return progress;
  }

  static int CompareWhole(const std::optional<DecimalBound>& bound, int before, int digits) {
    if (bound && static_cast<size_t>(digits) < bound->whole.size()) return -1;
    return before;
  }

  Progress WithPoint(Progress progress) const {
    progress.min = CompareWhole(bounds_.min, progress.min, progress.digits);
    progress.max = CompareWhole(bounds_.max, progress.max, progress.digits);
    progress.phase = Phase::kPoint;
    progress.whole = progress.digits;
    progress.digits = 0;
    return progress;
  }

  static int CompareAll(const std::optional<DecimalBound>& bound, int before, int digits) {
    if (!bound || before != 0) return before;
    return static_cast<size_t>(digits) < bound->fraction.size() ? -1 : 0;
  }

  bool Ends(Progress progress) const {
    if (progress.phase == Phase::kStart || progress.phase == Phase::kPoint) return false;
    if (progress.phase != Phase::kFraction) progress = WithPoint(progress);
    if (bounds_.min) {
      const int order = CompareAll(bounds_.min, progress.min, progress.digits);
      if (order < 0 || (order == 0 && bounds_.min->excluded)) return false;
    }
    if (bounds_.max) {
      const int order = CompareAll(bounds_.max, progress.max, progress.digits);
      if (order > 0 || (order == 0 && bounds_.max->excluded)) return false;
    }
    if (range_.multiple == 0) return true;
    uint64_t remainder = progress.remainder;
    for (int i = progress.digits; i < range_.scale; ++i)
      remainder = remainder * 10 % range_.multiple;
    return remainder == 0;
  }

  std::vector<bool> FindUseful() const {
    std::vector<std::vector<int32_t>> sources(nodes_.size());
    std::vector<bool> useful(nodes_.size());
    std::vector<int32_t> work;
    for (size_t i = 0; i < nodes_.size(); ++i) {
      for (const Step& step : nodes_[i].steps) {
        sources[static_cast<size_t>(step.target)].push_back(static_cast<int32_t>(i));
      }
      if (Ends(nodes_[i].progress)) work.push_back(static_cast<int32_t>(i));
    }
    while (!work.empty()) {
      const auto at = static_cast<size_t>(work.back());
      work.pop_back();
      if (useful[at]) continue;
      useful[at] = true;
      work.insert(work.end(), sources[at].begin(), sources[at].end());
    }
    return useful;
  }

  const DecimalRange& range_;
  const Magnitudes& bounds_;
  CompileBudget& budget_;
  int max_fraction_ = 0;
  std::vector<Node> nodes_;
  std::map<decltype(Progress{}.Key()), int32_t> ids_;
};

}  // namespace

DecimalBound ParseDecimal(const OrderedJson& number, bool excluded) {
  std::string text =
      number.is_number_integer() ? number.dump() : fmt::format("{}", number.get<double>());
  DecimalBound bound;
  bound.excluded = excluded;
  bound.negative = text.starts_with('-');
  if (bound.negative) text.erase(0, 1);
  int exponent = 0;
  if (const size_t e = text.find('e'); e != std::string::npos) {
    exponent = std::stoi(text.substr(e + 1));
    text.resize(e);
  }
  int point = static_cast<int>(text.size());
  if (const size_t dot = text.find('.'); dot != std::string::npos) {
    point = static_cast<int>(dot);
    text.erase(dot, 1);
  }
  point += exponent;
  if (point <= 0) {
    text.insert(0, static_cast<size_t>(1 - point), '0');
    point = 1;
  }
  if (static_cast<size_t>(point) > text.size()) text.resize(static_cast<size_t>(point), '0');
  bound.whole = text.substr(0, static_cast<size_t>(point));
  bound.fraction = text.substr(static_cast<size_t>(point));
  bound.whole.erase(0, std::min(bound.whole.find_first_not_of('0'), bound.whole.size() - 1));
  bound.fraction.erase(bound.fraction.find_last_not_of('0') + 1);
  if (bound.is_zero()) bound.negative = false;
  return bound;
}

int CompareDecimals(const DecimalBound& a, const DecimalBound& b) {
  if (a.negative != b.negative) return a.negative ? -1 : 1;
  return a.negative ? CompareMagnitudes(b, a) : CompareMagnitudes(a, b);
}

DecimalRange IntegerFormat(bool short_integer) {
  DecimalRange range;
  range.min = ParseDecimal(OrderedJson(short_integer ? INT32_MIN : INT64_MIN), false);
  range.max = ParseDecimal(OrderedJson(short_integer ? INT32_MAX : INT64_MAX), false);
  range.integer = true;
  return range;
}

bool SetMultiple(const OrderedJson& multiple, DecimalRange& range) {
  const DecimalBound value = ParseDecimal(multiple, false);
  const std::string digits = value.whole + value.fraction;
  if (digits.size() > 9 || value.fraction.size() > static_cast<size_t>(kMaxDigits)) return false;
  range.multiple = static_cast<uint32_t>(std::stoul(digits));
  range.scale = static_cast<int>(value.fraction.size());
  return range.multiple > 0;
}

bool IsMultiple(const DecimalBound& number, const DecimalRange& range) {
  if (number.fraction.size() > static_cast<size_t>(range.scale)) return false;
  std::string digits = number.whole + number.fraction;
  digits.append(static_cast<size_t>(range.scale) - number.fraction.size(), '0');
  uint64_t remainder = 0;
  for (const char digit : digits) {
    remainder = (remainder * 10 + static_cast<uint64_t>(digit - '0')) % range.multiple;
  }
  return remainder == 0;
}

void AddDecimals(Grammar& grammar, const DecimalRange& range, int32_t from, int32_t to,
                 CompileBudget& budget) {
  // Numbers from 0 upward.
  if (!range.max || !range.max->negative) {
    Magnitudes bounds;
    if (range.min && !range.min->negative) bounds.min = range.min;
    bounds.max = range.max;
    const int32_t first = grammar.AddState();
    grammar.AddEmpty(from, first);
    DigitNetwork(range, bounds, budget).AddTo(grammar, first, to);
  }
  // Those below 0; "-0" too where 0 is in the range, but not as an integer.
  const bool zero_is_least = range.min && range.min->is_zero() && !range.min->excluded;
  if (!range.min || range.min->negative || (zero_is_least && !range.integer)) {
    Magnitudes bounds;
    if (range.max && (range.max->negative || range.max->is_zero())) bounds.min = range.max;
    bounds.max = range.min;
    if (range.integer && (!bounds.min || bounds.min->is_zero())) {
      bounds.min = DecimalBound();
      bounds.min->excluded = true;
    }
    DigitNetwork(range, bounds, budget).AddTo(grammar, grammar.AddLiteral(from, "-"), to);
  }
}

}  // namespace cadre
