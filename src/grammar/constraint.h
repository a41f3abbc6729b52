// What a model may say: a grammar over bytes compiled against one tokenizer, and a state per answer
// that tells which tokens may come next. The engine knows no more of JSON, schemas and regular
// expressions than this.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

namespace cadre {

// One answer's place in a grammar. Not thread-safe; its grammar may serve any number of them.
class ConstraintState {
 public:
  virtual ~ConstraintState() = default;

  // Sets bit id % 64 of mask[id / 64] for every token that may come next, clears all others. EOS
  // ids are the caller's: they are never set. mask: [(vocab_size + 63) / 64].
  virtual void AllowedTokens(std::span<uint64_t> mask) = 0;
  // The text so far is whole: it may end here. Where no token may follow, it must.
  virtual bool CanEnd() const = 0;
  // `id` came. Returns false, and changes nothing, when it is not allowed.
  virtual bool Accept(int32_t id) = 0;
  // For text that was drafted ahead and may have to be taken back.
  virtual std::unique_ptr<ConstraintState> Clone() const = 0;
};

// Immutable; any number of threads may start states of one.
class Constraint {
 public:
  virtual ~Constraint() = default;
  virtual std::unique_ptr<ConstraintState> Start() const = 0;
};

}  // namespace cadre
