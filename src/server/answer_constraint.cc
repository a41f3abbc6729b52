#include "server/answer_constraint.h"

#include <functional>
#include <list>
#include <mutex>
#include <utility>

#include "base/error.h"
#include "grammar/compile.h"
#include "server/answer_json.h"
#include "server/api_error.h"

namespace cadre {
namespace {

constexpr size_t kMaxKept = 16;
constexpr int kMaxParallelCalls = 32;

}  // namespace

// The grammars that were used last, by what they were compiled from.
class ConstraintSource::Cache {
 public:
  using Compiled = std::shared_ptr<const Constraint>;
  using Compile = std::function<Compiled(const std::shared_ptr<const TokenTrie>&)>;

  explicit Cache(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}

  // Compiles without the lock: another request need not wait for this one's schema.
  Compiled Get(const std::string& key, const Compile& compile) {
    std::shared_ptr<const TokenTrie> trie;
    {
      const std::lock_guard lock(mutex_);
      if (!trie_) trie_ = std::make_shared<const TokenTrie>(tokenizer_);
      trie = trie_;
      for (auto kept = kept_.begin(); kept != kept_.end(); ++kept) {
        if (kept->first != key) continue;
        kept_.splice(kept_.begin(), kept_, kept);
        return kept->second;
      }
    }
    Compiled compiled = compile(trie);
    const std::lock_guard lock(mutex_);
    kept_.emplace_front(key, compiled);
    if (kept_.size() > kMaxKept) kept_.pop_back();
    return compiled;
  }

 private:
  const Tokenizer& tokenizer_;
  std::mutex mutex_;
  std::shared_ptr<const TokenTrie> trie_;
  std::list<std::pair<std::string, Compiled>> kept_;  // used last first
};

ConstraintSource::ConstraintSource(const ApiConfig& config)
    : config_(config), cache_(std::make_unique<Cache>(*config.tokenizer)) {}

ConstraintSource::~ConstraintSource() = default;

RequestConstraint ConstraintSource::ForFormat(const AnswerFormat& format, LeadingSpace leading) {
  const CompileOptions options{.strips_leading_space = leading == LeadingSpace::kStrip};
  const std::string tail = options.strips_leading_space ? "strip" : "keep";
  const bool is_regex = format.kind == AnswerFormat::Kind::kRegex;
  try {
    switch (format.kind) {
      case AnswerFormat::Kind::kText:
        return {};
      case AnswerFormat::Kind::kJsonObject:
        return {.grammar = cache_->Get(
                    "json " + tail, [&](const auto& trie) { return CompileJson(trie, options); })};
      case AnswerFormat::Kind::kJsonSchema:
        return {.grammar =
                    cache_->Get("schema " + tail + Dump(format.schema), [&](const auto& trie) {
                      return CompileJsonSchema(format.schema, trie, options);
                    })};
      case AnswerFormat::Kind::kRegex:
        return {.grammar = cache_->Get("regex " + tail + format.regex, [&](const auto& trie) {
          return CompileRegex(format.regex, trie, options);
        })};
    }
  } catch (const Error& error) {
    throw ApiError(400, error.what(), is_regex ? "regex" : "response_format",
                   is_regex ? "regex_not_supported" : "schema_not_supported");
  }
  CADRE_CHECK(false);
}

RequestConstraint ConstraintSource::ForTools(const ToolUse& use) {
  if (use.choice == ToolChoice::kNone) return {};
  std::vector<ToolSignature> tools;
  std::string key = use.parallel ? "tools parallel" : "tools";
  for (const size_t index : use.callable) {
    const ToolDefinition& tool = use.tools[index];
    tools.push_back({tool.name, &tool.parameters});
    key += " " + tool.name + " " + Dump(tool.parameters);
  }
  RequestConstraint constraint;
  constraint.trigger_id = *config_.ControlId("[TOOL_CALLS]");
  constraint.trigger_first = use.choice == ToolChoice::kRequired;
  try {
    constraint.grammar = cache_->Get(key, [&](const auto& trie) {
      return CompileToolCalls(tools, use.parallel ? kMaxParallelCalls : 1, trie,
                              {.strips_leading_space = true});
    });
  } catch (const Error& error) {
    throw ApiError(400, error.what(), "tools", "schema_not_supported");
  }
  return constraint;
}

RequestConstraint ConstraintSource::ForWords(const std::vector<std::string>& words) {
  std::string pattern;
  for (const std::string& word : words) pattern += (pattern.empty() ? "" : "|") + word;
  return ForFormat({.kind = AnswerFormat::Kind::kRegex, .schema = {}, .regex = pattern},
                   LeadingSpace::kStrip);
}

}  // namespace cadre
