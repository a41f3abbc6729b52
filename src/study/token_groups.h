// Kinds of tokens by rules of spelling, in the manner of ST-MoE's table of specialised experts
// (arXiv 2202.08906 section 7): every token is of exactly one.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace cadre {

struct TokenGroup {
  std::string_view name;
  std::string_view rule;  // what it takes, for readers
};

// In the order of the rules: the first that fits.
std::span<const TokenGroup> TokenGroups();

// The group of a token that decodes to these bytes ("" : control, "\n", " the", "ing").
int64_t GroupOf(std::string_view bytes);

// [vocab]
std::vector<int32_t> GroupsOf(const Tokenizer& tokenizer);

}  // namespace cadre
