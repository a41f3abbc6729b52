// The first process of a sandbox: it begins as a copy of this program in namespaces of its own,
// builds the file system, gives up all privileges, starts the interpreter and watches over it. When
// it ends, the kernel ends every process in the sandbox.
//
// It runs between fork and exec of a program that may have threads: nothing in here allocates,
// locks or throws, and identities change by bare system calls (the C library's would wait for
// threads that are not here).
#pragma once

#include <linux/filter.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sandbox/sandbox.h"
#include "sandbox/system_view.h"

namespace cadre {

// What can fail while a sandbox is built.
enum class SandboxStep : int32_t {
  kDone,
  kIdentity,
  kMounts,
  kView,  // part: which one
  kFiles,
  kRoot,
  kPrivileges,
  kProcessLimitHolds,  // it does not
  kProcess,
  kLimits,
  kFilter,
  kInterpreter,
};

// What the first process tells, once, before it ends.
struct InsideReport {
  SandboxStep failed = SandboxStep::kDone;
  int32_t error = 0;  // errno
  int32_t part = -1;
  ProgramEnd end = ProgramEnd::kExit;
  int32_t code = 0;
  double processor_s = 0;
};

// All that it needs, made before it begins.
struct InsidePlan {
  const SystemView* view;
  const std::vector<sock_filter>* filter;
  std::string_view program;
  SandboxLimits limits;
  std::string root_options;      // of the root's and
  std::string disk_options;      // of /tmp's file system
  std::vector<int> part_fds;     // [parts] room for open mounts
  std::vector<char*> arguments;  // of the interpreter, null at the end
  std::vector<char*> environment;
  // None of them is a standard stream.
  int control_fd;  // readable: identities are mapped; at its end the parent is gone
  int report_fd;   // takes the InsideReport
  int output_fd;   // the program's standard streams
};

// Who the program is, inside; and outside where this process is root.
inline constexpr uint32_t kNobody = 65534;

// Where the program's text lies, inside.
inline constexpr char kProgramPath[] = "/program.py";

[[noreturn]] void RunInside(InsidePlan& plan);

}  // namespace cadre
