// The regular languages that a schema names: patterns and formats, each compiled once.
#pragma once

#include <map>
#include <string>

#include "grammar/compile_budget.h"
#include "grammar/text_dfa.h"

namespace cadre {

class SchemaTexts {
 public:
  explicit SchemaTexts(CompileBudget& budget) : budget_(budget) {}

  // Texts of which some part matches. Throws Error: see CompileRegexText.
  const TextDfa& Pattern(const std::string& pattern);
  // Texts of a format: date-time, date, time, duration, email, hostname, ipv4, ipv6, uuid, uri,
  // regular ones of each at least. Null for a format that is not known.
  const TextDfa* Format(const std::string& format);

 private:
  CompileBudget& budget_;
  std::map<std::string, TextDfa> patterns_;
  std::map<std::string, TextDfa> formats_;
};

}  // namespace cadre
