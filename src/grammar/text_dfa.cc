#include "grammar/text_dfa.h"

#include <algorithm>
#include <unordered_map>

#include "base/error.h"
#include "text/utf8.h"

namespace cadre {
namespace {

constexpr int32_t kNowhere = -1;

int32_t AddState(TextDfa& dfa, bool accepts) {
  if (dfa.states.size() >= TextDfa::kMaxStates) {
    throw Error("grammar: a pattern needs more than {} states", TextDfa::kMaxStates);
  }
  dfa.states.push_back({{}, accepts});
  return static_cast<int32_t>(dfa.states.size() - 1);
}

void AddStep(std::vector<TextDfa::Step>& steps, uint32_t lo, uint32_t hi, int32_t target) {
  if (!steps.empty() && steps.back().target == target && steps.back().hi + 1 == lo) {
    steps.back().hi = hi;
  } else {
    steps.push_back({lo, hi, target});
  }
}

// Calls visit(lo, hi, target in a, target in b or kNowhere) for the pieces of the steps of `a`.
template <typename Visit>
void Overlay(const std::vector<TextDfa::Step>& a, const std::vector<TextDfa::Step>& b,
             Visit&& visit) {
  size_t j = 0;
  for (const TextDfa::Step& step : a) {
    uint32_t at = step.lo;
    while (at <= step.hi) {
      while (j < b.size() && b[j].hi < at) ++j;
      if (j == b.size() || b[j].lo > step.hi) {
        visit(at, step.hi, step.target, kNowhere);
        break;
      }
      if (b[j].lo > at) visit(at, b[j].lo - 1, step.target, kNowhere);
      at = std::max(at, b[j].lo);
      const uint32_t hi = std::min(step.hi, b[j].hi);
      visit(at, hi, step.target, b[j].target);
      at = hi + 1;
    }
  }
}

// The states of a product automaton by the pair they stand for, numbered as they are found.
class Pairs {
 public:
  explicit Pairs(CompileBudget& budget) : budget_(budget) {}

  int32_t Find(TextDfa& dfa, int32_t a, int32_t b, bool accepts) {
    budget_.Spend(1);
    const auto key = uint64_t{static_cast<uint32_t>(a)} << 32 | static_cast<uint32_t>(b);
    const auto [found, fresh] = id_of_.try_emplace(key, static_cast<int32_t>(pairs_.size()));
    if (fresh) {
      pairs_.emplace_back(a, b);
      AddState(dfa, accepts);
    }
    return found->second;
  }
  size_t size() const { return pairs_.size(); }
  std::pair<int32_t, int32_t> operator[](size_t i) const { return pairs_[i]; }

 private:
  CompileBudget& budget_;
  std::unordered_map<uint64_t, int32_t> id_of_;
  std::vector<std::pair<int32_t, int32_t>> pairs_;
};

TextDfa Product(const TextDfa& a, const TextDfa& b, bool subtract, CompileBudget& budget) {
  TextDfa product;
  if (a.states.empty() || (!subtract && b.states.empty())) return product;
  Pairs pairs(budget);
  const auto state_of = [&](int32_t in_a, int32_t in_b) {
    const bool b_accepts = in_b != kNowhere && b.states[static_cast<size_t>(in_b)].accepts;
    const bool accepts = a.states[static_cast<size_t>(in_a)].accepts && b_accepts != subtract;
    return pairs.Find(product, in_a, in_b, accepts);
  };
  state_of(0, b.states.empty() ? kNowhere : 0);
  const std::vector<TextDfa::Step> none;
  for (size_t i = 0; i < pairs.size(); ++i) {
    const auto [in_a, in_b] = pairs[i];
    std::vector<TextDfa::Step> steps;
    Overlay(a.states[static_cast<size_t>(in_a)].steps,
            in_b == kNowhere ? none : b.states[static_cast<size_t>(in_b)].steps,
            [&](uint32_t lo, uint32_t hi, int32_t to_a, int32_t to_b) {
              if (to_b == kNowhere && !subtract) return;
              AddStep(steps, lo, hi, state_of(to_a, to_b));
            });
    product.states[i].steps = std::move(steps);
  }
  return Trim(product);
}

}  // namespace

CodePointSet::CodePointSet(std::vector<CodePointRange> ranges) : ranges_(std::move(ranges)) {
  Normalize();
}

const CodePointSet& CodePointSet::All() {
  static const CodePointSet all({{0, 0xD7FF}, {0xE000, kLast}});
  return all;
}

CodePointSet CodePointSet::Complement() const {
  std::vector<CodePointRange> gaps;
  for (const CodePointRange all : All().ranges_) {
    uint32_t at = all.lo;
    for (const CodePointRange range : ranges_) {
      if (range.hi < at || range.lo > all.hi) continue;
      if (range.lo > at) gaps.push_back({at, range.lo - 1});
      at = range.hi + 1;
    }
    if (at <= all.hi) gaps.push_back({at, all.hi});
  }
  return CodePointSet(std::move(gaps));
}

// Ranges given over the surrogates lose them.
void CodePointSet::Normalize() {
  std::vector<CodePointRange> clean;
  for (const CodePointRange range : ranges_) {
    if (range.lo < 0xD800) clean.push_back({range.lo, std::min(range.hi, 0xD7FFU)});
    if (range.hi > 0xDFFF) clean.push_back({std::max(range.lo, 0xE000U), range.hi});
  }
  std::sort(clean.begin(), clean.end(),
            [](CodePointRange a, CodePointRange b) { return a.lo < b.lo; });
  ranges_.clear();
  for (const CodePointRange range : clean) {
    if (!ranges_.empty() && range.lo <= ranges_.back().hi + 1) {
      ranges_.back().hi = std::max(ranges_.back().hi, range.hi);
    } else {
      ranges_.push_back(range);
    }
  }
}

TextDfa AnyText() {
  TextDfa dfa;
  AddState(dfa, true);
  for (const CodePointRange range : CodePointSet::All().ranges()) {
    dfa.states[0].steps.push_back({range.lo, range.hi, 0});
  }
  return dfa;
}

TextDfa OneOfTexts(std::span<const std::string> texts, CompileBudget& budget) {
  TextDfa dfa;
  if (texts.empty()) return dfa;
  AddState(dfa, false);
  for (const std::string& text : texts) {
    int32_t at = 0;
    for (std::string_view rest = text; !rest.empty();) {
      const Utf8Step step = DecodeUtf8(rest);
      rest.remove_prefix(step.num_bytes);
      const auto& steps = dfa.states[static_cast<size_t>(at)].steps;
      const auto found = std::lower_bound(
          steps.begin(), steps.end(), step.code_point,
          [](const TextDfa::Step& a, uint32_t code_point) { return a.lo < code_point; });
      if (found != steps.end() && found->lo == step.code_point) {
        at = found->target;
        continue;
      }
      budget.Spend(2);
      const auto position = found - steps.begin();
      const int32_t next = AddState(dfa, false);
      auto& grown = dfa.states[static_cast<size_t>(at)].steps;
      grown.insert(grown.begin() + position, {step.code_point, step.code_point, next});
      at = next;
    }
    dfa.states[static_cast<size_t>(at)].accepts = true;
  }
  return dfa;
}

TextDfa Intersect(const TextDfa& a, const TextDfa& b, CompileBudget& budget) {
  return Product(a, b, false, budget);
}

TextDfa Subtract(const TextDfa& a, const TextDfa& b, CompileBudget& budget) {
  return Product(a, b, true, budget);
}

TextDfa WithLength(const TextDfa& a, int64_t min, int64_t max, CompileBudget& budget) {
  TextDfa product;
  if (a.states.empty() || (max >= 0 && min > max)) return product;
  // Beyond what can still make a difference all lengths are one.
  const int64_t last = max < 0 ? min : max;
  if (last > INT32_MAX) throw Error("grammar: a length of {} is too long to be counted", last);
  Pairs pairs(budget);
  const auto state_of = [&](int32_t in_a, int64_t length) {
    const bool accepts = a.states[static_cast<size_t>(in_a)].accepts && length >= min;
    return pairs.Find(product, in_a, static_cast<int32_t>(length), accepts);
  };
  state_of(0, 0);
  for (size_t i = 0; i < pairs.size(); ++i) {
    const auto [in_a, length] = pairs[i];
    if (max >= 0 && length == max) continue;
    std::vector<TextDfa::Step> steps;
    for (const TextDfa::Step& step : a.states[static_cast<size_t>(in_a)].steps) {
      AddStep(steps, step.lo, step.hi, state_of(step.target, std::min<int64_t>(length + 1, last)));
    }
    product.states[i].steps = std::move(steps);
  }
  return Trim(product);
}

TextDfa Trim(const TextDfa& dfa) {
  std::vector<std::vector<int32_t>> sources(dfa.states.size());
  std::vector<int32_t> work;
  std::vector<bool> useful(dfa.states.size());
  for (size_t i = 0; i < dfa.states.size(); ++i) {
    for (const TextDfa::Step& step : dfa.states[i].steps) {
      sources[static_cast<size_t>(step.target)].push_back(static_cast<int32_t>(i));
    }
    if (dfa.states[i].accepts) {
      useful[i] = true;
      work.push_back(static_cast<int32_t>(i));
    }
  }
  while (!work.empty()) {
    const auto at = static_cast<size_t>(work.back());
    work.pop_back();
    for (const int32_t source : sources[at]) {
      if (useful[static_cast<size_t>(source)]) continue;
      useful[static_cast<size_t>(source)] = true;
      work.push_back(source);
    }
  }
  TextDfa trimmed;
  if (dfa.states.empty() || !useful[0]) return trimmed;
  std::vector<int32_t> renumbered(dfa.states.size(), kNowhere);
  for (size_t i = 0; i < dfa.states.size(); ++i) {
    if (useful[i]) renumbered[i] = AddState(trimmed, dfa.states[i].accepts);
  }
  for (size_t i = 0; i < dfa.states.size(); ++i) {
    if (!useful[i]) continue;
    auto& steps = trimmed.states[static_cast<size_t>(renumbered[i])].steps;
    for (const TextDfa::Step& step : dfa.states[i].steps) {
      const int32_t target = renumbered[static_cast<size_t>(step.target)];
      if (target != kNowhere) AddStep(steps, step.lo, step.hi, target);
    }
  }
  return trimmed;
}

bool Accepts(const TextDfa& dfa, std::string_view utf8) {
  if (dfa.states.empty()) return false;
  size_t at = 0;
  while (!utf8.empty()) {
    const Utf8Step step = DecodeUtf8(utf8);
    if (step.status != Utf8Status::kValid) return false;
    utf8.remove_prefix(step.num_bytes);
    const auto& steps = dfa.states[at].steps;
    const auto found = std::lower_bound(
        steps.begin(), steps.end(), step.code_point,
        [](const TextDfa::Step& a, uint32_t code_point) { return a.hi < code_point; });
    if (found == steps.end() || found->lo > step.code_point) return false;
    at = static_cast<size_t>(found->target);
  }
  return dfa.states[at].accepts;
}

}  // namespace cadre
