// The tokens of one tokenizer by their bytes: what the masks of a grammar are computed over. Built
// once per tokenizer and shared. Holds no control, unknown or unused pieces: no grammar allows
// them.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace cadre {

// Immutable: any number of threads may use one.
class TokenTrie {
 public:
  struct Node {
    uint8_t byte;
    uint16_t depth;        // 1 for a token's first byte
    int32_t end;           // the node behind the last below this one
    int32_t tokens_begin;  // of those that end here, in Tree::tokens
    int32_t tokens_end;
  };
  // Depth first, children by rising byte.
  struct Tree {
    std::vector<Node> nodes;
    std::vector<int32_t> tokens;
  };
  // Plain tokens are whole characters that a JSON string may hold as they are. That is nearly all
  // of a vocabulary, and where one character is as good as any other they need not be looked at one
  // by one: kMaxPlain characters and fewer have ready masks.
  static constexpr int kMaxPlain = 16;

  explicit TokenTrie(const Tokenizer& tokenizer);
  // `bytes` of every id; none for what is never allowed.
  explicit TokenTrie(std::vector<std::string> bytes);

  int32_t vocab_size() const { return static_cast<int32_t>(bytes_.size()); }
  size_t mask_words() const { return (bytes_.size() + 63) / 64; }
  int max_token_bytes() const { return max_token_bytes_; }
  // Empty for what is never allowed, and for ids out of range.
  std::string_view bytes(int32_t id) const {
    if (id < 0 || id >= vocab_size()) return {};
    return bytes_[static_cast<size_t>(id)];
  }

  const Tree& plain() const { return plain_; }
  const Tree& others() const { return others_; }
  // Of the plain tokens with at most `characters` characters, 1 to kMaxPlain.
  std::span<const uint64_t> PlainMask(int characters) const {
    return plain_masks_[static_cast<size_t>(characters - 1)];
  }
  // Those with more than kMaxPlain characters.
  std::span<const int32_t> long_plain() const { return long_plain_; }

 private:
  void Build();

  std::vector<std::string> bytes_;
  Tree plain_;
  Tree others_;
  std::vector<std::vector<uint64_t>> plain_masks_;
  std::vector<int32_t> long_plain_;
  int max_token_bytes_ = 1;
};

}  // namespace cadre
