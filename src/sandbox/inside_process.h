// The first process of a sandbox, as its parent holds it.
#pragma once

#include <sys/types.h>

#include "sandbox/inside.h"

namespace cadre {

// Kills it and all others in the sandbox, at the latest at its end, and waits until they are gone.
class InsideProcess {
 public:
  // In namespaces of its own; it waits at its control pipe for Begin. Throws Error where it may not
  // have them.
  explicit InsideProcess(InsidePlan& plan);
  ~InsideProcess() { End(); }
  InsideProcess(const InsideProcess&) = delete;
  InsideProcess& operator=(const InsideProcess&) = delete;

  // Says who it is, and writes to the control pipe. Throws Error.
  void Begin(int control_fd);
  void End();

 private:
  pid_t pid_ = 0;
};

}  // namespace cadre
