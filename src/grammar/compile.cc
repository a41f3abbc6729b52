#include "grammar/compile.h"

#include <algorithm>

#include "base/error.h"
#include "base/json.h"
#include "grammar/grammar.h"
#include "grammar/json_rules.h"
#include "grammar/regex.h"
#include "grammar/schema_document.h"
#include "grammar/schema_rules.h"
#include "grammar/schema_texts.h"
#include "grammar/spell.h"
#include "grammar/token_constraint.h"
#include "text/utf8.h"

namespace cadre {
namespace {

std::shared_ptr<const Constraint> Bind(Grammar grammar, int32_t root,
                                       std::shared_ptr<const TokenTrie> trie,
                                       const CompileOptions& options) {
  grammar.Finish(root);
  return std::make_shared<TokenConstraint>(std::move(grammar), std::move(trie),
                                           options.strips_leading_space);
}

// The rule of {"name": "...", "arguments": {...}}.
int32_t AddCallRule(Grammar& grammar, JsonRules& json, const std::string& name, int32_t arguments) {
  const int32_t rule = grammar.AddRule(true);
  const auto [start, end, nests] = grammar.rule(rule);
  int32_t at = grammar.AddLiteral(start, "{\"name\"");
  const int32_t name_start = grammar.AddState();
  json.AddSeparator(at, ':', name_start);
  at = grammar.AddLiteral(name_start, QuotedJson(name));
  const int32_t key_start = grammar.AddState();
  json.AddSeparator(at, ',', key_start);
  at = grammar.AddLiteral(key_start, "\"arguments\"");
  const int32_t value_start = grammar.AddState();
  json.AddSeparator(at, ':', value_start);
  const int32_t value_end = grammar.AddState();
  grammar.AddCall(value_start, arguments, value_end);
  grammar.AddLiteral(value_end, "}", end);
  return rule;
}

int32_t AddArgumentsRule(Grammar& grammar, JsonRules& json, SchemaTexts& texts,
                         CompileBudget& budget, const ToolSignature& tool) {
  if (tool.parameters == nullptr || tool.parameters->is_null()) {
    const int32_t rule = grammar.AddRule(true);
    grammar.AddLiteral(grammar.rule(rule).start, "{}", grammar.rule(rule).end);
    return rule;
  }
  try {
    const SchemaDocument document(*tool.parameters, budget);
    return SchemaRules(document, grammar, json, texts, budget).Compile(true);
  } catch (const Error& error) {
    throw Error("tool '{}': {}", Printable(tool.name), error.what());
  }
}

}  // namespace

std::shared_ptr<const Constraint> CompileJson(std::shared_ptr<const TokenTrie> trie,
                                              const CompileOptions& options) {
  CompileBudget budget(options.max_steps);
  Grammar grammar(budget);
  const int32_t root = JsonRules(grammar).Object();
  return Bind(std::move(grammar), root, std::move(trie), options);
}

std::shared_ptr<const Constraint> CompileJsonSchema(const OrderedJson& schema,
                                                    std::shared_ptr<const TokenTrie> trie,
                                                    const CompileOptions& options) {
  CompileBudget budget(options.max_steps);
  const SchemaDocument document(schema, budget);
  Grammar grammar(budget);
  JsonRules json(grammar);
  SchemaTexts texts(budget);
  const int32_t root = SchemaRules(document, grammar, json, texts, budget).Compile(false);
  return Bind(std::move(grammar), root, std::move(trie), options);
}

std::shared_ptr<const Constraint> CompileRegex(std::string_view pattern,
                                               std::shared_ptr<const TokenTrie> trie,
                                               const CompileOptions& options) {
  CompileBudget budget(options.max_steps);
  const TextDfa dfa = CompileRegexText(pattern, RegexMatch::kWhole, budget);
  Grammar grammar(budget);
  const int32_t root = grammar.AddRule();
  AddText(grammar, dfa, Spelling::kPlain, grammar.rule(root).start, grammar.rule(root).end);
  return Bind(std::move(grammar), root, std::move(trie), options);
}

std::shared_ptr<const Constraint> CompileToolCalls(std::span<const ToolSignature> tools,
                                                   int max_calls,
                                                   std::shared_ptr<const TokenTrie> trie,
                                                   const CompileOptions& options) {
  CADRE_CHECK(!tools.empty() && max_calls >= 1);
  CompileBudget budget(options.max_steps);
  Grammar grammar(budget);
  JsonRules json(grammar);
  SchemaTexts texts(budget);
  const int32_t call = grammar.AddRule();
  for (const ToolSignature& tool : tools) {
    if (!IsValidUtf8(tool.name)) {
      throw Error("tool '{}': the name is not valid UTF-8", Printable(tool.name));
    }
    const int32_t arguments = AddArgumentsRule(grammar, json, texts, budget, tool);
    grammar.AddCall(grammar.rule(call).start, AddCallRule(grammar, json, tool.name, arguments),
                    grammar.rule(call).end);
  }
  const int32_t more = grammar.AddRule();
  const int32_t next = grammar.AddState();
  json.AddSeparator(grammar.rule(more).start, ',', next);
  grammar.AddCall(next, call, grammar.rule(more).end);

  const int32_t root = grammar.AddRule(true);
  const int32_t open = grammar.AddLiteral(grammar.rule(root).start, "[");
  const int32_t first = grammar.AddState();
  const int32_t close = grammar.AddState();
  grammar.AddCall(open, call, first);
  grammar.AddRepeat(first, more, 0, max_calls - 1, close);
  grammar.AddLiteral(close, "]", grammar.rule(root).end);
  return Bind(std::move(grammar), root, std::move(trie), options);
}

}  // namespace cadre
