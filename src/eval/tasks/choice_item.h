// Items of the usual shape: one context, a choice of answers behind it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "eval/tasks/fields.h"
#include "eval/tasks/item.h"

namespace cadre {

// The item that asks which of `answers` follows `context`, a space between them. Throws Error where
// a text is empty: nothing could be asked, or a length divided by.
EvalItem ChoiceItem(const Fields& line, std::string context, std::vector<std::string> answers,
                    int64_t gold);

// The first `count` capital letters, each a text.
std::vector<std::string> Letters(size_t count);

// "\nA. first\nB. second ..." for these answers.
std::string LetteredLines(const std::vector<std::string>& answers);

// Whether the line is in llm-foundry's form.
bool IsFoundry(const Fields& line);

// Its query without `prefix`. Throws Error where it does not begin so.
std::string FoundryQuery(const Fields& line, std::string_view prefix);

// Its choices and which is right.
std::vector<std::string> FoundryChoices(const Fields& line);
int64_t FoundryGold(const Fields& line, size_t choices);

}  // namespace cadre
