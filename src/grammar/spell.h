// Characters as bytes: texts and regular languages written into a grammar, either as they are
// (UTF-8) or as JSON strings spell them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "grammar/grammar.h"
#include "grammar/text_dfa.h"

namespace cadre {

enum class Spelling : uint8_t {
  kPlain,
  // Between the quotes of a JSON string. Every character has one spelling (its UTF-8, or the
  // escape that it needs), but control characters have theirs with both cases of \u00XX.
  kJson,
};

// Adds what `dfa` accepts as ways from `from` to `to`.
void AddText(Grammar& grammar, const TextDfa& dfa, Spelling spelling, int32_t from, int32_t to);

// `text`, valid UTF-8, between quotes, spelt as above where one spelling is to be chosen.
std::string QuotedJson(std::string_view text);

// Adds to the grammar any one character of a JSON string in any valid spelling, surrogate pairs
// included. The rule it returns is for strings whose characters are free.
int32_t AddFreeCharacterRule(Grammar& grammar);

}  // namespace cadre
