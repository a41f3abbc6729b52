#include "grammar/token_constraint.h"

#include <algorithm>

#include "base/error.h"

namespace cadre {
namespace {

class TokenState final : public ConstraintState {
 public:
  explicit TokenState(std::shared_ptr<const TokenConstraint> constraint)
      : constraint_(std::move(constraint)), shared_(constraint_->Current()) {
    const std::lock_guard lock(shared_->mutex);
    config_ = shared_->automaton.start();
  }
  TokenState(const TokenState&) = default;
  TokenState& operator=(const TokenState&) = delete;

  void AllowedTokens(std::span<uint64_t> mask) override {
    CADRE_CHECK(mask.size() >= constraint_->trie().mask_words());
    MoveToCurrent();
    const std::lock_guard lock(shared_->mutex);
    Automaton& automaton = shared_->automaton;
    const std::span<const uint64_t> found =
        strips_next() ? automaton.FirstMask() : automaton.Mask(config_);
    // A model may have more logits than its tokenizer has pieces.
    std::fill(std::copy(found.begin(), found.end(), mask.begin()), mask.end(), uint64_t{0});
  }

  bool CanEnd() const override {
    const std::lock_guard lock(shared_->mutex);
    return shared_->automaton.CanEnd(config_);
  }

  bool Accept(int32_t id) override {
    std::string_view bytes = constraint_->trie().bytes(id);
    if (bytes.empty()) return false;
    if (strips_next() && bytes.front() == ' ') bytes.remove_prefix(1);
    MoveToCurrent();
    const std::lock_guard lock(shared_->mutex);
    const int32_t next = shared_->automaton.Walk(config_, bytes);
    if (next == Automaton::kDead) return false;
    config_ = next;
    first_ = false;
    return true;
  }

  std::unique_ptr<ConstraintState> Clone() const override {
    return std::make_unique<TokenState>(*this);
  }

 private:
  bool strips_next() const { return first_ && constraint_->strips_leading_space(); }

  void MoveToCurrent() {
    std::shared_ptr<SharedAutomaton> current = constraint_->Current();
    if (current == shared_) return;
    std::vector<Automaton::Place> places;
    {
      const std::lock_guard lock(shared_->mutex);
      places = shared_->automaton.Export(config_);
    }
    const std::lock_guard lock(current->mutex);
    config_ = current->automaton.Import(places);
    shared_ = current;
  }

  std::shared_ptr<const TokenConstraint> constraint_;
  std::shared_ptr<SharedAutomaton> shared_;
  int32_t config_ = 0;
  bool first_ = true;
};

}  // namespace

TokenConstraint::TokenConstraint(Grammar grammar, std::shared_ptr<const TokenTrie> trie,
                                 bool strips_leading_space, size_t max_automaton_bytes)
    : grammar_(std::move(grammar)),
      trie_(std::move(trie)),
      strips_leading_space_(strips_leading_space),
      max_automaton_bytes_(max_automaton_bytes),
      current_(std::make_shared<SharedAutomaton>(grammar_, *trie_)) {}

std::unique_ptr<ConstraintState> TokenConstraint::Start() const {
  return std::make_unique<TokenState>(shared_from_this());
}

std::shared_ptr<SharedAutomaton> TokenConstraint::Current() const {
  const std::lock_guard lock(mutex_);
  bool full = false;
  {
    const std::lock_guard inner(current_->mutex);
    full = current_->automaton.bytes() > max_automaton_bytes_;
  }
  if (full) current_ = std::make_shared<SharedAutomaton>(grammar_, *trie_);
  return current_;
}

}  // namespace cadre
