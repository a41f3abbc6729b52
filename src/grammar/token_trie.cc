#include "grammar/token_trie.h"

#include <algorithm>

#include "base/error.h"
#include "text/utf8.h"

namespace cadre {
namespace {

// The number of characters of a plain token; 0 for any other.
int PlainCharacters(std::string_view bytes) {
  int characters = 0;
  while (!bytes.empty()) {
    const Utf8Step step = DecodeUtf8(bytes);
    const bool plain = step.status == Utf8Status::kValid && step.code_point >= 0x20 &&
                       step.code_point != '"' && step.code_point != '\\';
    if (!plain) return 0;
    bytes.remove_prefix(step.num_bytes);
    ++characters;
  }
  return characters;
}

TokenTrie::Tree BuildTree(std::vector<int32_t> ids, const std::vector<std::string>& bytes) {
  const auto bytes_of = [&](int32_t id) -> const std::string& {
    return bytes[static_cast<size_t>(id)];
  };
  std::sort(ids.begin(), ids.end(), [&](int32_t a, int32_t b) {
    const int order = bytes_of(a).compare(bytes_of(b));
    return order != 0 ? order < 0 : a < b;
  });
  TokenTrie::Tree tree;
  std::vector<size_t> path;  // the nodes from the root to the last token
  const auto leave_to = [&](size_t depth) {
    for (; path.size() > depth; path.pop_back()) {
      tree.nodes[path.back()].end = static_cast<int32_t>(tree.nodes.size());
    }
  };
  for (size_t i = 0; i < ids.size(); ++i) {
    const std::string& text = bytes_of(ids[i]);
    size_t shared = 0;
    while (shared < path.size() && shared < text.size() &&
           tree.nodes[path[shared]].byte == static_cast<uint8_t>(text[shared])) {
      ++shared;
    }
    leave_to(shared);
    const auto token = static_cast<int32_t>(tree.tokens.size());
    for (size_t depth = shared; depth < text.size(); ++depth) {
      path.push_back(tree.nodes.size());
      tree.nodes.push_back(
          {static_cast<uint8_t>(text[depth]), static_cast<uint16_t>(depth + 1), 0, token, token});
    }
    tree.tokens.push_back(ids[i]);
    ++tree.nodes[path.back()].tokens_end;
  }
  leave_to(0);
  return tree;
}

std::vector<std::string> BytesOfTokens(const Tokenizer& tokenizer) {
  std::vector<std::string> bytes(static_cast<size_t>(tokenizer.vocab_size()));
  for (int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
    const PieceType type = tokenizer.vocabulary().pieces[static_cast<size_t>(id)].type;
    const bool speaks =
        type == PieceType::kNormal || type == PieceType::kUserDefined || type == PieceType::kByte;
    if (speaks && id != tokenizer.bos_id() && id != tokenizer.eos_id()) {
      bytes[static_cast<size_t>(id)] = tokenizer.PieceBytes(id);
    }
  }
  return bytes;
}

}  // namespace

TokenTrie::TokenTrie(const Tokenizer& tokenizer) : TokenTrie(BytesOfTokens(tokenizer)) {}

TokenTrie::TokenTrie(std::vector<std::string> bytes) : bytes_(std::move(bytes)) { Build(); }

void TokenTrie::Build() {
  plain_masks_.assign(kMaxPlain, std::vector<uint64_t>(mask_words()));
  std::vector<int32_t> plain;
  std::vector<int32_t> others;
  for (int32_t id = 0; id < vocab_size(); ++id) {
    const std::string& bytes = bytes_[static_cast<size_t>(id)];
    if (bytes.empty()) continue;
    CADRE_CHECK(bytes.size() <= UINT16_MAX);
    max_token_bytes_ = std::max(max_token_bytes_, static_cast<int>(bytes.size()));
    const int characters = PlainCharacters(bytes);
    (characters > 0 ? plain : others).push_back(id);
    if (characters > kMaxPlain) long_plain_.push_back(id);
    if (characters == 0) continue;
    for (int limit = characters; limit <= kMaxPlain; ++limit) {
      plain_masks_[static_cast<size_t>(limit - 1)][static_cast<size_t>(id) / 64] |= uint64_t{1}
                                                                                    << (id % 64);
    }
  }
  plain_ = BuildTree(std::move(plain), bytes_);
  others_ = BuildTree(std::move(others), bytes_);
}

}  // namespace cadre
