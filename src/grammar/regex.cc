#include "grammar/regex.h"

#include <algorithm>
#include <map>

#include "base/error.h"
#include "grammar/regex_parser.h"

namespace cadre {
namespace {

// Thompson's construction: a state reads one character of a set, or none.
class Nfa {
 public:
  struct State {
    int32_t set = -1;  // reads one of sets[set] and goes to `target`
    int32_t target = -1;
    std::vector<int32_t> empty;           // goes there without reading
    std::vector<int32_t> empty_at_begin;  // the same, only before the first character
    std::vector<int32_t> empty_at_end;    // and behind the last
  };

  Nfa(const RegexTree& tree, RegexMatch match, CompileBudget& budget)
      : tree_(tree), budget_(budget) {
    start_ = AddState();
    end_ = AddState();
    for (const RegexTree::Node& node : tree.nodes) sets_.push_back(node.set.ranges());
    int32_t first = start_;
    int32_t last = end_;
    if (match == RegexMatch::kAnywhere) {
      sets_.push_back(CodePointSet::All().ranges());
      for (const int32_t around : {start_, end_}) {
        At(around).set = static_cast<int32_t>(sets_.size() - 1);
        At(around).target = around;
      }
      first = AddState();
      last = AddState();
      At(start_).empty.push_back(first);
      At(last).empty.push_back(end_);
    }
    Build(tree.root, first, last);
  }

  int32_t start() const { return start_; }
  int32_t end() const { return end_; }
  const State& operator[](int32_t state) const { return states_[static_cast<size_t>(state)]; }
  size_t size() const { return states_.size(); }
  const std::vector<std::vector<CodePointRange>>& sets() const { return sets_; }

 private:
  State& At(int32_t state) { return states_[static_cast<size_t>(state)]; }

  int32_t AddState() {
    budget_.Spend(8);
    states_.emplace_back();
    return static_cast<int32_t>(states_.size() - 1);
  }

  // A path from `from` to `to` for what node `id` matches. Nothing else leads out of `from` by a
  // character or into it.
  void Build(int32_t id, int32_t from, int32_t to) {
    const RegexTree::Node& node = tree_.nodes[static_cast<size_t>(id)];
    switch (node.kind) {
      case RegexTree::Kind::kSet:
        At(from).set = id;
        At(from).target = to;
        break;
      case RegexTree::Kind::kBegin:
        At(from).empty_at_begin.push_back(to);
        break;
      case RegexTree::Kind::kEnd:
        At(from).empty_at_end.push_back(to);
        break;
      case RegexTree::Kind::kSequence:
        for (const int32_t child : node.children) {
          const int32_t next = AddState();
          Build(child, from, next);
          from = next;
        }
        At(from).empty.push_back(to);
        break;
      case RegexTree::Kind::kChoice:
        for (const int32_t child : node.children) {
          const int32_t first = AddState();
          At(from).empty.push_back(first);
          Build(child, first, to);
        }
        break;
      case RegexTree::Kind::kRepeat:
        BuildRepeat(node, from, to);
        break;
    }
  }

  void BuildRepeat(const RegexTree::Node& node, int32_t from, int32_t to) {
    const int32_t child = node.children[0];
    for (int32_t i = 0; i < node.min; ++i) from = BuildNext(child, from);
    if (node.max == RegexTree::kUnlimited) {
      const int32_t loop = AddState();
      At(from).empty.push_back(loop);
      const int32_t first = AddState();
      At(loop).empty.push_back(first);
      Build(child, first, loop);
      At(loop).empty.push_back(to);
      return;
    }
    for (int32_t i = node.min; i < node.max; ++i) {
      const int32_t first = AddState();
      At(from).empty.push_back(first);
      At(from).empty.push_back(to);
      from = BuildNext(child, first);
    }
    At(from).empty.push_back(to);
  }

  int32_t BuildNext(int32_t child, int32_t from) {
    const int32_t next = AddState();
    Build(child, from, next);
    return next;
  }

  const RegexTree& tree_;
  CompileBudget& budget_;
  std::vector<State> states_;
  std::vector<std::vector<CodePointRange>> sets_;
  int32_t start_ = 0;
  int32_t end_ = 0;
};

// The characters in intervals that no set tells apart.
class Intervals {
 public:
  explicit Intervals(const std::vector<std::vector<CodePointRange>>& sets) {
    for (const auto& set : sets) {
      for (const CodePointRange range : set) {
        starts_.push_back(range.lo);
        starts_.push_back(range.hi + 1);
      }
    }
    std::sort(starts_.begin(), starts_.end());
    starts_.erase(std::unique(starts_.begin(), starts_.end()), starts_.end());
  }

  size_t IndexOf(uint32_t start) const {
    return static_cast<size_t>(std::lower_bound(starts_.begin(), starts_.end(), start) -
                               starts_.begin());
  }
  size_t size() const { return starts_.empty() ? 0 : starts_.size() - 1; }
  uint32_t lo(size_t i) const { return starts_[i]; }
  uint32_t hi(size_t i) const { return starts_[i + 1] - 1; }

 private:
  std::vector<uint32_t> starts_;
};

// The subset construction.
class Determinizer {
 public:
  Determinizer(const Nfa& nfa, CompileBudget& budget)
      : nfa_(nfa), budget_(budget), intervals_(nfa.sets()), seen_(nfa.size()) {}

  TextDfa Run() {
    StateOf({nfa_.start()}, true);
    for (size_t i = 0; i < members_.size(); ++i) Expand(i);
    return Trim(dfa_);
  }

 private:
  // `kernel`, and all that is reached from there without reading.
  std::vector<int32_t> Closure(const std::vector<int32_t>& kernel, bool at_begin, bool at_end) {
    std::vector<int32_t> found;
    const auto reach = [&](const std::vector<int32_t>& states) {
      for (const int32_t state : states) {
        if (seen_[static_cast<size_t>(state)]) continue;
        seen_[static_cast<size_t>(state)] = true;
        found.push_back(state);
      }
    };
    reach(kernel);
    for (size_t i = 0; i < found.size(); ++i) {
      budget_.Spend(1);
      reach(nfa_[found[i]].empty);
      if (at_begin) reach(nfa_[found[i]].empty_at_begin);
      if (at_end) reach(nfa_[found[i]].empty_at_end);
    }
    for (const int32_t state : found) seen_[static_cast<size_t>(state)] = false;
    return found;
  }

  int32_t StateOf(std::vector<int32_t> kernel, bool at_begin) {
    std::sort(kernel.begin(), kernel.end());
    kernel.erase(std::unique(kernel.begin(), kernel.end()), kernel.end());
    budget_.Spend(static_cast<int64_t>(kernel.size()));
    if (!at_begin) {
      const auto found = state_of_.find(kernel);
      if (found != state_of_.end()) return found->second;
    }
    if (dfa_.states.size() >= TextDfa::kMaxStates) {
      throw Error("regular expression: needs more than {} states", TextDfa::kMaxStates);
    }
    const auto id = static_cast<int32_t>(dfa_.states.size());
    const std::vector<int32_t> at_end = Closure(kernel, at_begin, true);
    const bool accepts = std::find(at_end.begin(), at_end.end(), nfa_.end()) != at_end.end();
    dfa_.states.push_back({{}, accepts});
    std::vector<int32_t> reading;
    for (const int32_t state : Closure(kernel, at_begin, false)) {
      if (nfa_[state].set >= 0) reading.push_back(state);
    }
    members_.push_back(std::move(reading));
    // The start is no state to come back to: only there "^" holds.
    if (!at_begin) state_of_.emplace(std::move(kernel), id);
    return id;
  }

  void Expand(size_t id) {
    std::vector<std::vector<int32_t>> targets(intervals_.size());
    budget_.Spend(static_cast<int64_t>(intervals_.size()));
    for (const int32_t state : members_[id]) {
      for (const CodePointRange range : nfa_.sets()[static_cast<size_t>(nfa_[state].set)]) {
        const size_t end = intervals_.IndexOf(range.hi + 1);
        for (size_t i = intervals_.IndexOf(range.lo); i < end; ++i) {
          budget_.Spend(1);
          targets[i].push_back(nfa_[state].target);
        }
      }
    }
    std::vector<TextDfa::Step> steps;
    for (size_t i = 0; i < targets.size(); ++i) {
      if (targets[i].empty()) continue;
      const bool as_before = i > 0 && !steps.empty() && steps.back().hi + 1 == intervals_.lo(i) &&
                             targets[i] == targets[i - 1];
      const int32_t target = as_before ? steps.back().target : StateOf(targets[i], false);
      if (!steps.empty() && steps.back().hi + 1 == intervals_.lo(i) &&
          steps.back().target == target) {
        steps.back().hi = intervals_.hi(i);
      } else {
        steps.push_back({intervals_.lo(i), intervals_.hi(i), target});
      }
    }
    dfa_.states[id].steps = std::move(steps);
  }

  const Nfa& nfa_;
  CompileBudget& budget_;
  Intervals intervals_;
  std::vector<bool> seen_;
  TextDfa dfa_;
  std::map<std::vector<int32_t>, int32_t> state_of_;
  std::vector<std::vector<int32_t>> members_;  // the reading states behind each state
};

}  // namespace

TextDfa CompileRegexText(std::string_view pattern, RegexMatch match, CompileBudget& budget) {
  const RegexTree tree = ParseRegex(pattern, budget);
  const Nfa nfa(tree, match, budget);
  return Determinizer(nfa, budget).Run();
}

}  // namespace cadre
