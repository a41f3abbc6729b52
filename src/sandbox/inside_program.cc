#include "sandbox/inside_program.h"

#include <fcntl.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "sandbox/inside_report.h"

namespace cadre {
namespace {

constexpr int64_t kStackBytes = 8 << 20;

// A limit may be lower already.
bool Limit(__rlimit_resource resource, int64_t soft, int64_t hard) {
  rlimit limit = {};
  if (getrlimit(resource, &limit) != 0) return false;
  if (static_cast<rlim_t>(hard) < limit.rlim_max) limit.rlim_max = static_cast<rlim_t>(hard);
  limit.rlim_cur = static_cast<rlim_t>(soft);
  if (limit.rlim_cur > limit.rlim_max) limit.rlim_cur = limit.rlim_max;
  return setrlimit(resource, &limit) == 0;
}

// This copy of a large program is over the limit on address space at once, and then its stack can
// no longer grow: what the few calls before exec need is made now.
void GrowStack() {
  volatile char room[32 << 10];
  for (size_t i = 0; i < sizeof room; i += 1024) room[i] = 0;
}

bool SetLimits(const SandboxLimits& limits) {
  // The sandbox's first process counts as one of its processes.
  const int64_t processes = limits.processes + 1;
  const int64_t processor_s = limits.processor_s;
  // A core dump of one byte is the kernel's word for none: one of 0 would still go to a handler.
  return Limit(RLIMIT_AS, limits.memory_bytes, limits.memory_bytes) &&
         Limit(RLIMIT_CPU, processor_s, processor_s + 1) &&
         Limit(RLIMIT_NPROC, processes, processes) &&
         Limit(RLIMIT_FSIZE, limits.disk_bytes, limits.disk_bytes) &&
         Limit(RLIMIT_NOFILE, limits.open_files, limits.open_files) &&
         Limit(RLIMIT_STACK, kStackBytes, kStackBytes) && Limit(RLIMIT_CORE, 1, 1) &&
         Limit(RLIMIT_MEMLOCK, 0, 0) && Limit(RLIMIT_MSGQUEUE, 0, 0) &&
         Limit(RLIMIT_SIGPENDING, 256, 256);
}

// Standard input is empty, the two outputs are one pipe. output_fd is not one of the three.
bool SetStreams(int output_fd) {
  // Any number may be free; dup2 to itself would leave the file to be closed.
  const int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
  const int input = fcntl(nothing, F_DUPFD_CLOEXEC, 3);
  return input >= 0 && dup2(input, 0) == 0 && dup2(output_fd, 1) == 1 && dup2(output_fd, 2) == 2;
}

// What was ignored stays ignored over exec, and what was blocked stays blocked.
void ResetSignals() {
  for (int number = 1; number < NSIG; ++number) signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

bool InstallFilter(const std::vector<sock_filter>& filter) {
  const sock_fprog program = {static_cast<unsigned short>(filter.size()),
                              const_cast<sock_filter*>(filter.data())};
  return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0;
}

}  // namespace

void BecomeProgram(const InsidePlan& plan) {
  setsid();
  ResetSignals();
  if (!SetStreams(plan.output_fd)) Fail(plan, SandboxStep::kProcess, errno);
  // Open until the interpreter begins: the pipe for a failure.
  if (syscall(SYS_close_range, 3u, ~0u, CLOSE_RANGE_CLOEXEC) != 0)
    Fail(plan, SandboxStep::kProcess, errno);
  GrowStack();
  if (!SetLimits(plan.limits)) Fail(plan, SandboxStep::kLimits, errno);
  if (!InstallFilter(*plan.filter)) Fail(plan, SandboxStep::kFilter, errno);
  execve(plan.view->interpreter.c_str(), plan.arguments.data(), plan.environment.data());
  Fail(plan, SandboxStep::kInterpreter, errno);
}

}  // namespace cadre
