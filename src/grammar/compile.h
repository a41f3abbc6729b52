// From what a request asks for (JSON, a JSON schema, a regular expression, tool calls) to the
// constraint that holds an answer to it, exactly. Refuses with one Error, before anything is
// generated, every schema or pattern that cannot be enforced: no keyword is ever ignored.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/json_fwd.h"
#include "grammar/compile_budget.h"
#include "grammar/constraint.h"
#include "grammar/token_trie.h"

namespace cadre {

struct CompileOptions {
  // The decoder drops one leading space of the answer's first token, as it does where the answer
  // begins a text of its own: a first token " {" then stands for "{".
  bool strips_leading_space = false;
  // See CompileBudget; below a second and 64 MiB by default.
  int64_t max_steps = CompileBudget::kMaxSteps;
};

// A tool that a model may call. No parameters: {} is the only arguments it takes.
struct ToolSignature {
  std::string name;
  const OrderedJson* parameters = nullptr;  // a JSON schema; its arguments are always an object
};

// Any JSON object.
std::shared_ptr<const Constraint> CompileJson(std::shared_ptr<const TokenTrie> trie,
                                              const CompileOptions& options = {});

// The JSON texts that satisfy `schema`: properties in the order in which the schema declares them
// (required ones always), additional ones behind them; strings and numbers as JsonRules says. What
// is supported: see grammar/schema_document.h. Throws Error("schema: {JSON pointer} ...") for what
// cannot be enforced, and where nothing satisfies the schema.
std::shared_ptr<const Constraint> CompileJsonSchema(const OrderedJson& schema,
                                                    std::shared_ptr<const TokenTrie> trie,
                                                    const CompileOptions& options = {});

// The texts that match as a whole. See grammar/regex.h.
std::shared_ptr<const Constraint> CompileRegex(std::string_view pattern,
                                               std::shared_ptr<const TokenTrie> trie,
                                               const CompileOptions& options = {});

// [{"name": ..., "arguments": {...}}, ...]: 1 to max_calls calls of `tools`, which is not empty.
// Throws Error naming the tool whose parameters are refused.
std::shared_ptr<const Constraint> CompileToolCalls(std::span<const ToolSignature> tools,
                                                   int max_calls,
                                                   std::shared_ptr<const TokenTrie> trie,
                                                   const CompileOptions& options = {});

}  // namespace cadre
