// A grammar made deterministic as far as it is walked: its configurations (every place where the
// bytes so far may stand, each with its stack of unfinished rules) are numbered when they are first
// met, and their steps and token masks are kept. Not thread-safe, never forgets, but says how much
// it holds.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "grammar/grammar.h"
#include "grammar/token_trie.h"

namespace cadre {

class Automaton {
 public:
  static constexpr int32_t kDead = -1;
  // The looks at grammar states that one mask may cost, a few tens of milliseconds. Where a grammar
  // is so ambiguous that they do not suffice, only the tokens found so far and those of one byte
  // are allowed.
  static constexpr int64_t kMaxMaskSteps = 1'000'000;

  // A place in one rule, and the rules around it.
  struct Frame {
    int32_t edge;   // that entered the rule
    int32_t count;  // how often it has done so: see Grammar::EdgeKind::kRepeat
  };
  struct Place {
    int32_t state;
    std::vector<Frame> frames;  // outermost first
  };

  Automaton(const Grammar& grammar, const TokenTrie& trie);
  Automaton(const Automaton&) = delete;
  Automaton& operator=(const Automaton&) = delete;

  int32_t start() const { return start_; }
  // kDead where no text goes on with `byte`.
  int32_t Step(int32_t config, uint8_t byte);
  int32_t Walk(int32_t config, std::string_view bytes);
  bool CanEnd(int32_t config) const { return At(config).can_end; }
  // Valid until the next call of anything.
  std::span<const uint64_t> Mask(int32_t config);
  // Of an answer's first token, where a leading space is no part of the text.
  std::span<const uint64_t> FirstMask();

  // What it holds, in bytes, roughly.
  size_t bytes() const { return bytes_; }
  // A configuration in terms of the grammar alone, and back: to go on in another automaton.
  std::vector<Place> Export(int32_t config) const;
  int32_t Import(std::span<const Place> places);

 private:
  static constexpr int32_t kUnknown = -2;

  struct Stack {  // a linked list that grows towards the inside; 0 is empty
    int32_t edge;
    int32_t count;
    int32_t parent;
    int32_t depth;  // how many of its rules nest
  };
  struct Item {
    int32_t state;
    int32_t stack;
    friend bool operator==(Item, Item) = default;
  };
  struct Config {
    int32_t items_begin;
    int32_t items_end;
    bool can_end;
    int32_t first_step = kUnknown;      // in steps_, once one was taken
    int32_t mask = kUnknown;            // in masks_
    int32_t next_plain = kUnknown;      // where every plain character leads to, if to one place
    int32_t representative = kUnknown;  // see RepresentativeOf
  };
  struct IdHash {
    const Automaton* self;
    size_t operator()(int32_t id) const { return self->HashOf(id); }
  };
  struct IdEqual {
    const Automaton* self;
    bool operator()(int32_t a, int32_t b) const { return self->Same(a, b); }
  };
  struct StackHash {
    const Automaton* self;
    size_t operator()(int32_t id) const;
  };
  struct StackEqual {
    const Automaton* self;
    bool operator()(int32_t a, int32_t b) const;
  };

  const Config& At(int32_t config) const { return configs_[static_cast<size_t>(config)]; }
  Config& At(int32_t config) { return configs_[static_cast<size_t>(config)]; }
  std::span<const Item> ItemsOf(int32_t config) const;
  size_t HashOf(int32_t config) const;
  bool Same(int32_t a, int32_t b) const;

  int32_t Push(int32_t edge, int32_t count, int32_t parent);
  void Enter(int32_t state, int32_t stack);
  void Leave(int32_t stack);
  void Call(int32_t edge, int32_t count, int32_t stack);
  // The configuration of all that was entered since the last, with what is reached from there
  // without reading.
  int32_t Close();
  int32_t Intern(std::vector<Item>& items, bool can_end);

  int32_t ComputeStep(int32_t config, int byte_class);
  int32_t NextPlain(int32_t config);
  bool AllLeadTo(int32_t config, uint8_t lo, uint8_t hi, int32_t& target);
  int PlainRun(int32_t config);
  int32_t RepresentativeOf(int32_t config);
  int32_t Representative(const Stack& frame) const;
  void SetTokens(const TokenTrie::Tree& tree, int32_t config, bool strip_space,
                 std::span<uint64_t> mask);
  void SetOneByteTokens(int32_t config, std::span<uint64_t> mask);
  void ComputeMask(int32_t config, std::span<uint64_t> mask);

  const Grammar& grammar_;
  const TokenTrie& trie_;
  int32_t start_ = kDead;
  size_t bytes_ = 0;
  int64_t steps_left_ = 0;

  std::vector<Stack> stacks_;
  std::unordered_set<int32_t, StackHash, StackEqual> stack_ids_;
  std::vector<Config> configs_;
  std::vector<Item> items_;
  std::unordered_set<int32_t, IdHash, IdEqual> config_ids_;
  std::vector<int32_t> steps_;  // num_classes of each configuration that has some
  std::vector<std::vector<uint64_t>> masks_;
  std::vector<uint64_t> first_mask_;

  // Of Close.
  std::vector<Item> entered_;
  std::unordered_set<uint64_t> seen_;
  bool can_end_ = false;
  std::vector<int32_t> path_;  // of SetTokens
};

}  // namespace cadre
