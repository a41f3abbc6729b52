// A context-free grammar over bytes, as states and edges: what a compiler of schemas or patterns
// writes and the automaton (grammar/automaton.h) walks. A rule is a small network with one start
// and one end; an edge reads a byte, nothing, one other rule, or a counted repetition of a rule.
// Refuses grammars that refer to themselves without reading anything and those that have no text.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "grammar/compile_budget.h"

namespace cadre {

class Grammar {
 public:
  // Rules that nest (arrays and objects) may stand inside each other this deep, so that every text
  // that has begun can still end.
  static constexpr int kMaxNesting = 64;
  static constexpr uint8_t kNever = 255;
  static constexpr int32_t kUnlimited = -1;

  enum class EdgeKind : uint8_t { kByte, kEmpty, kRule, kRepeat };
  struct Edge {
    EdgeKind kind;
    uint8_t lo;  // kByte: lo..hi
    uint8_t hi;
    int32_t target;
    int32_t rule = -1;         // kRule, kRepeat
    int32_t min = 1, max = 1;  // kRepeat: how many of the rule; no text of the rule may be empty
    int32_t next = -1;         // the next edge of the same state
  };
  struct State {
    int32_t first_edge = -1;
    int32_t rule = -1;  // the rule that ends here, or -1
    uint8_t need = kNever;
    bool reads = false;  // has an edge that reads a byte
  };
  struct Rule {
    int32_t start;
    int32_t end;
    bool nests;
  };

  explicit Grammar(CompileBudget& budget) : budget_(&budget) {}

  int32_t AddRule(bool nests = false);
  int32_t AddState();
  void AddBytes(int32_t from, uint8_t lo, uint8_t hi, int32_t to);
  void AddEmpty(int32_t from, int32_t to);
  void AddCall(int32_t from, int32_t rule, int32_t to);
  // `rule` min to max times (kUnlimited: any number), min >= 0.
  void AddRepeat(int32_t from, int32_t rule, int32_t min, int32_t max, int32_t to);
  // Reads `text`; returns the state behind it. The second form ends in `to`.
  int32_t AddLiteral(int32_t from, std::string_view text);
  void AddLiteral(int32_t from, std::string_view text, int32_t to);

  // Call once, when all is added: which states can end and how deep they must nest for it, and
  // which bytes are never told apart. Throws Error where `root` has no text at all within
  // kMaxNesting, or a rule refers to itself before it has read anything.
  void Finish(int32_t root);

  const Rule& rule(int32_t id) const { return rules_[static_cast<size_t>(id)]; }
  const State& state(int32_t id) const { return states_[static_cast<size_t>(id)]; }
  const Edge& edge(int32_t id) const { return edges_[static_cast<size_t>(id)]; }
  int32_t root() const { return root_; }
  int32_t num_states() const { return static_cast<int32_t>(states_.size()); }
  int num_classes() const { return num_classes_; }
  uint8_t ClassOf(uint8_t byte) const { return class_of_[byte]; }
  // Some byte of a class.
  uint8_t Representative(int byte_class) const {
    return representatives_[static_cast<size_t>(byte_class)];
  }

 private:
  void AddEdge(int32_t from, Edge edge);
  void FindNeeds();
  void RefuseLeftRecursion() const;
  void FindClasses();

  CompileBudget* budget_;
  std::vector<Rule> rules_;
  std::vector<State> states_;
  std::vector<Edge> edges_;
  int32_t root_ = -1;
  int num_classes_ = 0;
  std::array<uint8_t, 256> class_of_{};
  std::array<uint8_t, 256> representatives_{};
};

}  // namespace cadre
