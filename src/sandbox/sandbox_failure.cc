#include "sandbox/sandbox_failure.h"

#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace cadre {
namespace {

bool IsRefusal(int error) {
  return error == EPERM || error == EACCES || error == ENOSPC || error == EUSERS ||
         error == ENOSYS || error == EINVAL;
}

const char* StepText(SandboxStep step) {
  switch (step) {
    case SandboxStep::kIdentity:
      return "cannot become nobody";
    case SandboxStep::kMounts:
      return "cannot have mounts of its own";
    case SandboxStep::kView:
      return "cannot show it";
    case SandboxStep::kFiles:
      return "cannot have a file system in memory";
    case SandboxStep::kRoot:
      return "cannot have a root of its own";
    case SandboxStep::kPrivileges:
      return "cannot give up privileges";
    case SandboxStep::kProcess:
      return "cannot start a process";
    case SandboxStep::kLimits:
      return "cannot set limits";
    case SandboxStep::kFilter:
      return "cannot filter system calls";
    default:
      return "fails";
  }
}

}  // namespace

void ThrowFailure(const InsideReport& report, const SystemView& view) {
  const char* reason = std::strerror(report.error);
  if (report.failed == SandboxStep::kInterpreter)
    throw Error("{}: the interpreter cannot be run in the sandbox: {}", view.interpreter, reason);
  if (report.failed == SandboxStep::kProcessLimitHolds)
    throw Error(
        "the sandbox: a limit on processes does not hold here: it needs Linux 5.14, and a user "
        "other "
        "than the machine's root or the right to become one");
  if (report.failed == SandboxStep::kView && report.part >= 0)
    throw Error("the sandbox: {}: {}: {}", view.parts[static_cast<size_t>(report.part)].path,
                StepText(report.failed), reason);
  const bool refused = IsRefusal(report.error);
  throw Error("the sandbox {}: {}{}{}", StepText(report.failed), reason, refused ? "; " : "",
              refused ? kPermissions : "");
}

}  // namespace cadre
