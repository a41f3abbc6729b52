#include "grammar/grammar.h"

#include <algorithm>
#include <bitset>

#include "base/error.h"

namespace cadre {
namespace {

size_t At(int32_t id) { return static_cast<size_t>(id); }

// Lists of numbers under keys, in two arrays.
class Lists {
 public:
  explicit Lists(size_t num_keys) : begin_(num_keys + 1) {}

  void Count(int32_t key) { ++begin_[At(key) + 1]; }
  void StartAdding() {
    for (size_t i = 1; i < begin_.size(); ++i) begin_[i] += begin_[i - 1];
    values_.resize(begin_.back());
    fill_.assign(begin_.begin(), begin_.end() - 1);
  }
  void Add(int32_t key, int32_t value) { values_[fill_[At(key)]++] = value; }

  template <typename Visit>
  void Each(int32_t key, Visit&& visit) const {
    for (size_t i = begin_[At(key)]; i < begin_[At(key) + 1]; ++i) visit(values_[i]);
  }

 private:
  std::vector<size_t> begin_;
  std::vector<size_t> fill_;
  std::vector<int32_t> values_;
};

}  // namespace

int32_t Grammar::AddRule(bool nests) {
  const int32_t start = AddState();
  const int32_t end = AddState();
  const auto id = static_cast<int32_t>(rules_.size());
  states_[At(end)].rule = id;
  rules_.push_back({start, end, nests});
  return id;
}

int32_t Grammar::AddState() {
  budget_->Spend(2);
  states_.emplace_back();
  return static_cast<int32_t>(states_.size() - 1);
}

void Grammar::AddEdge(int32_t from, Edge edge) {
  CADRE_CHECK(states_[At(from)].rule < 0);  // nothing leads out of an end
  budget_->Spend(4);
  edge.next = states_[At(from)].first_edge;
  states_[At(from)].first_edge = static_cast<int32_t>(edges_.size());
  edges_.push_back(edge);
}

void Grammar::AddBytes(int32_t from, uint8_t lo, uint8_t hi, int32_t to) {
  AddEdge(from, {EdgeKind::kByte, lo, hi, to});
  states_[At(from)].reads = true;
}

void Grammar::AddEmpty(int32_t from, int32_t to) { AddEdge(from, {EdgeKind::kEmpty, 0, 0, to}); }

void Grammar::AddCall(int32_t from, int32_t rule, int32_t to) {
  AddEdge(from, {EdgeKind::kRule, 0, 0, to, rule});
}

void Grammar::AddRepeat(int32_t from, int32_t rule, int32_t min, int32_t max, int32_t to) {
  CADRE_CHECK(min >= 0 && (max == kUnlimited || max >= min));
  if (max == 0) {
    AddEmpty(from, to);
  } else {
    AddEdge(from, {EdgeKind::kRepeat, 0, 0, to, rule, min, max});
  }
}

int32_t Grammar::AddLiteral(int32_t from, std::string_view text) {
  for (const char c : text) {
    const int32_t next = AddState();
    AddBytes(from, static_cast<uint8_t>(c), static_cast<uint8_t>(c), next);
    from = next;
  }
  return from;
}

void Grammar::AddLiteral(int32_t from, std::string_view text, int32_t to) {
  if (text.empty()) return AddEmpty(from, to);
  from = AddLiteral(from, text.substr(0, text.size() - 1));
  AddBytes(from, static_cast<uint8_t>(text.back()), static_cast<uint8_t>(text.back()), to);
}

void Grammar::Finish(int32_t root) {
  CADRE_CHECK(root_ < 0);
  root_ = root;
  budget_ = nullptr;  // nothing is added any more
  RefuseLeftRecursion();
  FindNeeds();
  const Rule& top = rule(root);
  if (state(top.start).need == kNever || state(top.start).need + (top.nests ? 1 : 0) > kMaxNesting)
    throw Error("grammar: no answer can satisfy it, or only one nested deeper than {}",
                kMaxNesting);
  FindClasses();
}

// need(state) is the least over the ways from the state to the end of its rule of the deepest
// nesting on the way: Knuth's generalisation of Dijkstra's algorithm, by rising value.
void Grammar::FindNeeds() {
  std::vector<int32_t> source(edges_.size());
  Lists users(states_.size());  // edges that wait for a state: as target, or as start of a rule
  const auto each_use = [&](auto&& visit) {
    for (size_t from = 0; from < states_.size(); ++from) {
      for (int32_t e = states_[from].first_edge; e >= 0; e = edges_[At(e)].next) {
        source[At(e)] = static_cast<int32_t>(from);
        visit(edges_[At(e)].target, e);
        if (edges_[At(e)].rule >= 0) visit(rules_[At(edges_[At(e)].rule)].start, e);
      }
    }
  };
  each_use([&](int32_t state, int32_t) { users.Count(state); });
  users.StartAdding();
  each_use([&](int32_t state, int32_t e) { users.Add(state, e); });

  std::array<std::vector<int32_t>, kMaxNesting + 2> waiting;
  for (const Rule& rule : rules_) waiting[0].push_back(rule.end);
  for (uint8_t need = 0; need <= kMaxNesting; ++need) {
    while (!waiting[need].empty()) {
      const int32_t done = waiting[need].back();
      waiting[need].pop_back();
      if (states_[At(done)].need != kNever) continue;
      states_[At(done)].need = need;
      users.Each(done, [&](int32_t e) {
        const Edge& edge = edges_[At(e)];
        int deepest = states_[At(edge.target)].need;
        if (edge.rule >= 0 && edge.min > 0) {
          const Rule& called = rules_[At(edge.rule)];
          const int inside = states_[At(called.start)].need;
          deepest = inside == kNever ? kNever : std::max(deepest, inside + (called.nests ? 1 : 0));
        }
        if (deepest <= kMaxNesting) waiting[At(deepest)].push_back(source[At(e)]);
      });
    }
  }
}

// A rule that is entered again before a byte is read would be entered for ever.
void Grammar::RefuseLeftRecursion() const {
  enum : uint8_t { kNew, kOpen, kDone };
  std::vector<uint8_t> mark(states_.size(), kNew);
  struct Visit {
    int32_t state;
    int32_t edge;
    bool rule_seen;
  };
  std::vector<Visit> path;
  for (const Rule& first : rules_) {
    if (mark[At(first.start)] != kNew) continue;
    mark[At(first.start)] = kOpen;
    path.push_back({first.start, state(first.start).first_edge, false});
    while (!path.empty()) {
      Visit& top = path.back();
      if (top.edge < 0) {
        mark[At(top.state)] = kDone;
        path.pop_back();
        continue;
      }
      const Edge& edge = edges_[At(top.edge)];
      int32_t to = -1;
      if (edge.rule >= 0 && !top.rule_seen) {
        top.rule_seen = true;
        to = rule(edge.rule).start;
      } else {
        // No rule of a call is empty but where a repetition may be left out.
        if (edge.kind == EdgeKind::kEmpty || (edge.kind == EdgeKind::kRepeat && edge.min == 0))
          to = edge.target;
        top.edge = edge.next;
        top.rule_seen = false;
      }
      if (to < 0 || mark[At(to)] == kDone) continue;
      if (mark[At(to)] == kOpen) {
        throw Error("grammar: something is defined by itself alone, as by a $ref to its own place");
      }
      mark[At(to)] = kOpen;
      path.push_back({to, state(to).first_edge, false});
    }
  }
}

void Grammar::FindClasses() {
  std::bitset<257> starts;
  starts.set(0);
  for (const Edge& edge : edges_) {
    if (edge.kind != EdgeKind::kByte) continue;
    starts.set(edge.lo);
    starts.set(size_t{edge.hi} + 1);
  }
  for (size_t byte = 0; byte < 256; ++byte) {
    if (starts[byte]) {
      representatives_[At(num_classes_)] = static_cast<uint8_t>(byte);
      ++num_classes_;
    }
    class_of_[byte] = static_cast<uint8_t>(num_classes_ - 1);
  }
}

}  // namespace cadre
