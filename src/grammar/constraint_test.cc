// What holds for every constraint: masks are exact, answers end, states are independent, memory is
// bounded, on the small vocabulary and on the published one.
#include <gtest/gtest.h>

#include <thread>

#include "base/error.h"
#include "base/json.h"
#include "base/mapped_file.h"
#include "grammar/grammar.h"
#include "grammar/json_rules.h"
#include "grammar/schema_values.h"
#include "grammar/testing.h"
#include "grammar/token_constraint.h"
#include "text/sentencepiece_model.h"

namespace cadre {
namespace {

using testing::AllowedIds;
using testing::ByteToken;
using testing::CompileSchema;
using testing::RandomAnswer;
using testing::SmallTrie;

// Of the kinds that matter to masks.
const std::vector<const char*>& Schemas() {
  static const std::vector<const char*> schemas = {
      R"({})",
      R"({"type":"object"})",
      R"({"type":"string","minLength":1,"maxLength":70})",
      R"({"type":"string","minLength":60})",
      R"({"type":"string","pattern":"^[a-z ]{3,40}$"})",
      R"({"type":"object","properties":{"name":{"type":"string"},"kind":{"enum":["cat","dog"]},
          "value":{"type":"number","minimum":-1,"maximum":12.5}},"required":["kind"]})",
      R"({"type":"array","items":{"type":"integer","minimum":1,"maximum":120},"maxItems":100})",
      R"({"anyOf":[{"type":"string","format":"date-time"},{"type":"array","items":{"$ref":"#"}}]})",
      R"({"type":"object","patternProperties":{"^n":{"type":"integer"}},
          "additionalProperties":{"type":"string"}})"};
  return schemas;
}

std::shared_ptr<const TokenTrie> PublishedTrie() {
  static const auto trie = [] {
    const MappedFile file(std::string(std::getenv("CADRE_TEST_DATA")) +
                          "/tokenizers/mistral_instruct_tokenizer_240323.model.v3");
    return std::make_shared<const TokenTrie>(
        Tokenizer(ReadSentencePieceModel(file.bytes(), file.path()), "published"));
  }();
  return trie;
}

bool HasPublished() { return std::getenv("CADRE_TEST_DATA") != nullptr; }

// At states on a random walk the mask holds exactly the tokens that a clone accepts.
void CheckMasks(const Constraint& constraint, const TokenTrie& trie, Random& random, int steps) {
  auto state = constraint.Start();
  for (int i = 0; i < steps; ++i) {
    const std::vector<int32_t> ids = AllowedIds(*state, trie);
    size_t at = 0;
    for (int32_t id = -1; id <= trie.vocab_size(); ++id) {
      const bool allowed = at < ids.size() && ids[at] == id;
      at += allowed ? 1 : 0;
      ASSERT_EQ(state->Clone()->Accept(id), allowed) << i << " " << trie.bytes(id);
    }
    if (ids.empty()) {
      ASSERT_TRUE(state->CanEnd());
      return;
    }
    ASSERT_TRUE(state->Accept(ids[random.NextBelow(ids.size())]));
  }
}

TEST(TokenState, MasksAreWhatAcceptAccepts) {
  Random random(1);
  const auto trie = SmallTrie();
  for (const char* schema : Schemas()) {
    const auto constraint = CompileSchema(schema, trie);
    for (int walk = 0; walk < 8; ++walk) CheckMasks(*constraint, *trie, random, 40);
  }
  for (const char* pattern : {"(a|ab)*(name|na)", "\\d{4}-\\d\\d", "[^\\n]{1,50}", ".*"}) {
    for (const bool strips : {false, true}) {
      const auto constraint = CompileRegex(pattern, trie, {.strips_leading_space = strips});
      for (int walk = 0; walk < 8; ++walk) CheckMasks(*constraint, *trie, random, 20);
    }
  }
}

TEST(TokenState, MasksAreWhatAcceptAcceptsOnThePublishedVocabulary) {
  if (!HasPublished()) GTEST_SKIP() << "CADRE_TEST_DATA is not set";
  Random random(2);
  for (const char* schema : Schemas()) {
    CheckMasks(*CompileSchema(schema, PublishedTrie()), *PublishedTrie(), random, 12);
  }
}

TEST(TokenState, LeadingSpaceOfTheFirstTokenIsNoText) {
  const auto trie = SmallTrie();
  const auto accepts = [&](bool strips, std::string_view token) {
    const auto state = CompileJson(trie, {.strips_leading_space = strips})->Start();
    for (int32_t id = 0; id < trie->vocab_size(); ++id) {
      if (trie->bytes(id) == token) return state->Accept(id);
    }
    return false;
  };
  EXPECT_TRUE(accepts(true, " {"));
  EXPECT_TRUE(accepts(true, "{\""));
  EXPECT_FALSE(accepts(true, "  "));
  EXPECT_FALSE(accepts(false, " {"));
  const auto state = CompileJson(trie, {.strips_leading_space = true})->Start();
  ASSERT_TRUE(state->Accept(ByteToken(' ')));
  EXPECT_FALSE(state->Accept(ByteToken(' ')));
}

TEST(TokenState, RefusedTokensChangeNothing) {
  const auto state = CompileSchema(R"({"const":"abc"})", SmallTrie())->Start();
  ASSERT_TRUE(state->Accept(ByteToken('"')));
  for (const int32_t id : {-1, 0, 1, ByteToken('x'), 1 << 20}) EXPECT_FALSE(state->Accept(id));
  for (const char byte : {'a', 'b', 'c', '"'}) EXPECT_TRUE(state->Accept(ByteToken(byte)));
  EXPECT_TRUE(state->CanEnd());
  EXPECT_FALSE(state->Accept(ByteToken(' ')));
}

TEST(TokenState, WhatEndsSatisfiesItsSchema) {
  Random random(3);
  const auto trie = SmallTrie();
  CompileBudget budget(int64_t{1} << 40);
  for (const char* text : Schemas()) {
    const OrderedJson schema = ParseOrderedJson(text, "schema");
    const SchemaDocument document(schema, budget);
    SchemaTexts texts(budget);
    SchemaValues values(document, texts, budget);
    const auto constraint = CompileJsonSchema(schema, trie);
    int ended = 0;
    for (int i = 0; i < 30; ++i) {
      const auto answer = RandomAnswer(*constraint, *trie, random, 60);
      if (!answer) continue;
      ++ended;
      const OrderedJson value = OrderedJson::parse(*answer);
      EXPECT_TRUE(values.Satisfies(value, schema)) << text << "\n" << *answer;
    }
    EXPECT_GT(ended, 0) << text;
  }
}

// A new automaton takes the place of a full one; states go on where they were.
TEST(TokenConstraint, ForgetsWhatIsTooMuchWithoutAnyoneNoticing) {
  const auto trie = SmallTrie();
  const auto make = [&](size_t max_bytes) {
    CompileBudget budget;
    Grammar grammar(budget);
    const int32_t root = JsonRules(grammar).Object();
    grammar.Finish(root);
    return std::make_shared<TokenConstraint>(std::move(grammar), trie, false, max_bytes);
  };
  const auto small = make(2000);
  const auto large = make(size_t{1} << 30);
  Random random(4);
  for (int walk = 0; walk < 5; ++walk) {
    auto a = small->Start();
    auto b = large->Start();
    for (int i = 0; i < 60; ++i) {
      const std::vector<int32_t> ids = AllowedIds(*a, *trie);
      ASSERT_EQ(ids, AllowedIds(*b, *trie));
      ASSERT_EQ(a->CanEnd(), b->CanEnd());
      if (ids.empty()) break;
      const int32_t id = ids[random.NextBelow(ids.size())];
      ASSERT_TRUE(a->Accept(id));
      ASSERT_TRUE(b->Accept(id));
    }
  }
  EXPECT_NE(small->Current(), nullptr);
}

TEST(TokenConstraint, ServesManyThreads) {
  const auto trie = SmallTrie();
  const auto constraint = CompileJson(trie);
  const auto walk = [&](uint64_t seed) {
    Random random(seed);
    std::string all;
    for (int i = 0; i < 20; ++i) {
      all += RandomAnswer(*constraint, *trie, random, 40).value_or("-") + "\n";
    }
    return all;
  };
  std::vector<std::string> together(4);
  std::vector<std::thread> threads;
  for (size_t t = 0; t < together.size(); ++t) {
    threads.emplace_back([&, t] { together[t] = walk(t); });
  }
  for (std::thread& thread : threads) thread.join();
  for (size_t t = 0; t < together.size(); ++t) EXPECT_EQ(together[t], walk(t));
}

}  // namespace
}  // namespace cadre
