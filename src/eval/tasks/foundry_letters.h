// llm-foundry's queries that spell their answers out ("Choices:\nA. ...\nB. ...\nAnswer:"), taken
// apart.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "eval/tasks/fields.h"

namespace cadre {

struct FoundryLetters {
  std::string head;  // what stands before "\nChoices:\n", without the prefix
  std::vector<std::string> answers;
  int64_t gold = 0;
};

// Throws Error where the query is of another form or the line's choices are not its letters.
FoundryLetters ReadFoundryLetters(const Fields& line, std::string_view prefix);

}  // namespace cadre
