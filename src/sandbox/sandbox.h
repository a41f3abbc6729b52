// Runs the text of a Python program that nobody has read, so that it can do no harm: in namespaces
// of its own (user, processes, mounts, network, IPC, host name), as nobody, with a read-only view
// of the interpreter and its libraries and one small /tmp, behind a filter of system calls, within
// limits. It never runs a program otherwise: where the machine does not permit this it is an Error.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sandbox/system_view.h"

struct sock_filter;

namespace cadre {

struct SandboxLimits {
  double wall_s = 10;
  int processor_s = 10;  // of each process
  // Address space of each process, and what all processes together have in memory. (Without a
  // mountable /proc, as in some containers, only the former.)
  int64_t memory_bytes = int64_t{512} << 20;
  int processes = 16;  // at once, threads too
  int64_t disk_bytes = int64_t{16} << 20;
  int files = 1024;  // in /tmp
  int open_files = 64;
  int64_t output_bytes = int64_t{1} << 20;  // of both standard streams together
};

// Why a program is no longer running.
enum class ProgramEnd : uint8_t {
  kExit,       // code: its status
  kSignal,     // code: the signal
  kWallTime,   // a limit, from here on; code is 0
  kProcessor,  //
  kMemory,     // (a single allocation beyond it is Python's MemoryError instead)
  kOutput,     //
  kKilled,     // the sandbox itself was killed from outside, as when the machine's memory runs out
};

struct ProgramOutcome {
  ProgramEnd end = ProgramEnd::kExit;
  int code = 0;
  std::string output;  // both standard streams, the first output_bytes of it; any bytes
  double wall_s = 0;
  double processor_s = 0;  // of the first process; 0 where it was stopped from outside
};

// "exit 1", "signal 11", "wall time", "processor time", "memory", "output", "killed".
std::string ToString(const ProgramOutcome& outcome);

// Any number of threads may run programs through one.
class Sandbox {
 public:
  // `interpreter`: a path, or a name to look for as the shell does. Asks it for what it needs and
  // runs an empty program. Throws Error when it is no Python 3, or when the machine does not permit
  // the sandbox: the error says what has to be enabled.
  explicit Sandbox(const std::string& interpreter = "python3");
  ~Sandbox();

  // Returns when the program and all processes that it began are gone. It cannot see the
  // environment, standard input is empty, the working folder is /tmp. Throws Error when the sandbox
  // cannot be built.
  ProgramOutcome Run(std::string_view program, const SandboxLimits& limits = {}) const;

 private:
  SystemView view_;
  std::vector<sock_filter> filter_;
};

}  // namespace cadre
