// A compiled grammar bound to a tokenizer's tokens: the Constraint that the engine holds. Its
// states share what they find out about masks, within a bound on memory.
#pragma once

#include <memory>
#include <mutex>

#include "grammar/automaton.h"
#include "grammar/constraint.h"
#include "grammar/grammar.h"
#include "grammar/token_trie.h"

namespace cadre {

// An automaton that grows under a lock.
struct SharedAutomaton {
  SharedAutomaton(const Grammar& grammar, const TokenTrie& trie) : automaton(grammar, trie) {}

  std::mutex mutex;
  Automaton automaton;
};

class TokenConstraint final : public Constraint,
                              public std::enable_shared_from_this<TokenConstraint> {
 public:
  // What one automaton may hold before a new one takes its place; the old one goes when the last
  // state has left it.
  static constexpr size_t kMaxAutomatonBytes = size_t{32} << 20;

  // `grammar` is finished. strips_leading_space: see CompileOptions.
  TokenConstraint(Grammar grammar, std::shared_ptr<const TokenTrie> trie, bool strips_leading_space,
                  size_t max_automaton_bytes = kMaxAutomatonBytes);

  std::unique_ptr<ConstraintState> Start() const override;

  const TokenTrie& trie() const { return *trie_; }
  bool strips_leading_space() const { return strips_leading_space_; }
  // The automaton to use next: a fresh one where the last has grown too large.
  std::shared_ptr<SharedAutomaton> Current() const;

 private:
  Grammar grammar_;
  std::shared_ptr<const TokenTrie> trie_;
  bool strips_leading_space_;
  size_t max_automaton_bytes_;
  mutable std::mutex mutex_;
  mutable std::shared_ptr<SharedAutomaton> current_;
};

}  // namespace cadre
