// What the tests of this floor share: a small vocabulary with every byte and some longer pieces,
// and ways to drive a constraint with texts or at random.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/random.h"
#include "grammar/compile.h"
#include "grammar/token_trie.h"

namespace cadre::testing {

// Ids 0 and 1 are never allowed; then come the 256 bytes, then longer pieces, some of which end
// inside a character or an escape.
inline std::shared_ptr<const TokenTrie> SmallTrie() {
  std::vector<std::string> bytes = {"", ""};
  for (int byte = 0; byte < 256; ++byte) bytes.emplace_back(1, static_cast<char>(byte));
  for (const char* piece : {"{\"",      "\"}",      "\":",
                            "\": ",     "\", \"",   "\",",
                            ", \"",     "},",       "],",
                            "}]",       "]}",       "[{",
                            "[[",       "]]",       "}}",
                            "true",     "false",    "null",
                            " {",       " [",       " \"",
                            " ",        "  ",       "\n",
                            "10",       "123",      "-1",
                            "0.",       ".5",       "e1",
                            "00",       "a",        "ab",
                            "abc",      " the",     "the cat",
                            "na",       "me",       "name",
                            "\"name\"", "value",    "\\",
                            "\\u",      "\\u00",    "\\ud8",
                            "\\\"",     "\\n",      "é",
                            "日本",     "🙂",     "\xE3\x81",
                            "\xF0\x9F", "\x99\x82", "é\xE3",
                            "12-",      "2024-01",  "T00:",
                            "https://", "@",        ".com",
                            "kind",     "cat",      "dog",
                            "\"a\"",    "\"b\":",   "some text that is long enough to be rare",
                            "x\"",      "\"x"}) {
    bytes.emplace_back(piece);
  }
  return std::make_shared<TokenTrie>(std::move(bytes));
}

// The id of one byte.
inline int32_t ByteToken(char byte) { return 2 + static_cast<uint8_t>(byte); }

// Whether `text`, byte by byte, is a whole answer.
inline bool IsAnswer(const Constraint& constraint, std::string_view text) {
  const std::unique_ptr<ConstraintState> state = constraint.Start();
  for (const char byte : text) {
    if (!state->Accept(ByteToken(byte))) return false;
  }
  return state->CanEnd();
}

inline std::shared_ptr<const Constraint> CompileSchema(std::string_view schema,
                                                       std::shared_ptr<const TokenTrie> trie) {
  return CompileJsonSchema(ParseOrderedJson(schema, "schema"), std::move(trie));
}

inline std::vector<int32_t> AllowedIds(ConstraintState& state, const TokenTrie& trie) {
  std::vector<uint64_t> mask(trie.mask_words());
  state.AllowedTokens(mask);
  std::vector<int32_t> ids;
  for (size_t word = 0; word < mask.size(); ++word) {
    for (uint64_t bits = mask[word]; bits != 0; bits &= bits - 1) {
      ids.push_back(static_cast<int32_t>(word) * 64 + __builtin_ctzll(bits));
    }
  }
  return ids;
}

// A random answer: any allowed token, ending where it may with probability 1/4; from max_tokens on
// those tokens that end it soonest by a simple guess. Nothing where it did not end.
inline std::optional<std::string> RandomAnswer(const Constraint& constraint, const TokenTrie& trie,
                                               Random& random, int max_tokens) {
  const std::unique_ptr<ConstraintState> state = constraint.Start();
  std::string text;
  for (int i = 0; i < 4 * max_tokens; ++i) {
    std::vector<int32_t> ids = AllowedIds(*state, trie);
    if (state->CanEnd() && (ids.empty() || random.NextBelow(4) == 0 || i > max_tokens)) {
      return text;
    }
    if (ids.empty()) return std::nullopt;
    int32_t id = ids[random.NextBelow(ids.size())];
    const auto prefer = [&](std::string_view wanted) {
      for (const int32_t other : ids) {
        if (trie.bytes(other) == wanted) id = other;
      }
    };
    if (i > max_tokens || random.NextBelow(3) == 0) {
      for (const std::string_view closing : {",", "]", "}", "\"", "0", "\"}"}) prefer(closing);
    }
    if (!state->Accept(id)) return std::nullopt;
    text += trie.bytes(id);
  }
  return std::nullopt;
}

}  // namespace cadre::testing
