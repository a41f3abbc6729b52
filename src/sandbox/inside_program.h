// The last steps of the process that becomes the sandboxed program.
#pragma once

#include "sandbox/inside.h"

namespace cadre {

[[noreturn]] void BecomeProgram(const InsidePlan& plan);

}  // namespace cadre
