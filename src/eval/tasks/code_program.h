// The programs that judge what a model wrote: its text between what it was given and the tests of
// the task. Their items are those of the tasks' readers.
#pragma once

#include <string>

#include "eval/tasks/item.h"

namespace cadre {

// The prompt (imports and the head of the function), the text, the tests, and the call of them.
std::string HumanEvalProgram(const EvalItem& item, const std::string& text);

// The text, what the tests need, and the tests.
std::string MbppProgram(const EvalItem& item, const std::string& text);

}  // namespace cadre
