// How the processes inside a sandbox tell what came of it: one record through a pipe.
#pragma once

#include <unistd.h>

#include "sandbox/inside.h"

namespace cadre {

// Ends the process, and with the first one all of the sandbox. A record is smaller than what a pipe
// takes at once.
[[noreturn]] inline void Tell(const InsidePlan& plan, const InsideReport& report) {
  [[maybe_unused]] const ssize_t count = write(plan.report_fd, &report, sizeof report);
  _exit(0);
}

[[noreturn]] inline void Fail(const InsidePlan& plan, SandboxStep step, int error, int part = -1) {
  Tell(plan, {.failed = step, .error = error, .part = part});
}

}  // namespace cadre
