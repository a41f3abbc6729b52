#include "sandbox/inside.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "sandbox/inside_files.h"
#include "sandbox/inside_program.h"
#include "sandbox/inside_report.h"
#include "sandbox/memory_watch.h"

namespace cadre {
namespace {

constexpr int kWatchIntervalMs = 10;

// All files that this process happened to have open at its birth, but the three.
void CloseAllBut(int a, int b, int c) {
  unsigned keep[] = {static_cast<unsigned>(a), static_cast<unsigned>(b), static_cast<unsigned>(c)};
  std::sort(keep, keep + 3);
  unsigned begin = 0;
  for (const unsigned fd : keep) {
    if (fd > begin) syscall(SYS_close_range, begin, fd - 1, 0);
    begin = fd + 1;
  }
  syscall(SYS_close_range, begin, ~0u, 0);
}

// Until the parent has written the maps of identities; ends where the parent does.
void AwaitParent(int control_fd) {
  char byte;
  ssize_t count;
  while ((count = read(control_fd, &byte, 1)) < 0 && errno == EINTR) {
  }
  if (count != 1) _exit(1);
}

// Where the machine must choose a process to end for want of memory, it shall be one of these.
void OfferToEndFirst() {
  const int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;  // a machine without /proc chooses by size
  [[maybe_unused]] const ssize_t count = write(fd, "1000", 4);
  close(fd);
}

// Capabilities are kept for the mounts: the namespace has no root to lose them from.
void BecomeNobody(const InsidePlan& plan) {
  // Where the parent is not root, the kernel forbids to drop groups; none of their files are here.
  if (syscall(SYS_setgroups, 0, nullptr) != 0 && errno != EPERM)
    Fail(plan, SandboxStep::kIdentity, errno);
  if (syscall(SYS_setresgid, kNobody, kNobody, kNobody) != 0 ||
      syscall(SYS_setresuid, kNobody, kNobody, kNobody) != 0)
    Fail(plan, SandboxStep::kIdentity, errno);
}

void GiveUpPrivileges(const InsidePlan& plan) {
  for (unsigned long capability = 0; capability < 64; ++capability) {
    if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0) continue;
    if (errno == EINVAL) break;  // beyond the last one
    Fail(plan, SandboxStep::kPrivileges, errno);
  }
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  const __user_cap_data_struct none[2] = {};
  if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0 ||
      syscall(SYS_capset, &header, none) != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
    Fail(plan, SandboxStep::kPrivileges, errno);
}

// A limit on processes counts nothing for the machine's root and, before Linux 5.14, everything
// that the user runs: so it is tried.
void ExpectProcessLimitHolds(const InsidePlan& plan) {
  rlimit before = {};
  getrlimit(RLIMIT_NPROC, &before);
  const rlimit one = {1, before.rlim_max};
  if (setrlimit(RLIMIT_NPROC, &one) != 0) Fail(plan, SandboxStep::kProcessLimitHolds, errno);
  const auto child = static_cast<pid_t>(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
  if (child == 0) _exit(0);
  if (child > 0) {
    waitpid(child, nullptr, 0);
    Fail(plan, SandboxStep::kProcessLimitHolds, 0);
  }
  setrlimit(RLIMIT_NPROC, &before);
}

ProgramEnd EndOf(int status, double processor_s, const SandboxLimits& limits) {
  if (WIFEXITED(status)) return ProgramEnd::kExit;
  const bool used_up = processor_s >= limits.processor_s - 0.1;
  if (WTERMSIG(status) == SIGXCPU || (WTERMSIG(status) == SIGKILL && used_up))
    return ProgramEnd::kProcessor;
  return ProgramEnd::kSignal;
}

double Seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
}

// Collects who has ended, until the program's first process has, or they use too much.
[[noreturn]] void Watch(const InsidePlan& plan, pid_t program, int processes_fd) {
  const auto program_fd = static_cast<int>(syscall(SYS_pidfd_open, program, 0));
  for (;;) {
    int status = 0;
    rusage usage = {};
    for (pid_t ended; (ended = wait4(-1, &status, WNOHANG, &usage)) > 0;) {
      if (ended != program) continue;
      const double processor_s = Seconds(usage.ru_utime) + Seconds(usage.ru_stime);
      Tell(plan, {.end = EndOf(status, processor_s, plan.limits),
                  .code = WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status),
                  .processor_s = processor_s});
    }
    if (MemoryInUse(processes_fd) > plan.limits.memory_bytes)
      Tell(plan, {.end = ProgramEnd::kMemory});
    pollfd events[2] = {{plan.control_fd, POLLIN, 0}, {program_fd, POLLIN, 0}};
    poll(events, 2, kWatchIntervalMs);
    if (events[0].revents != 0) _exit(1);  // the parent is gone
  }
}

}  // namespace

void RunInside(InsidePlan& plan) {
  CloseAllBut(plan.control_fd, plan.report_fd, plan.output_fd);
  AwaitParent(plan.control_fd);
  setsid();
  OfferToEndFirst();
  OpenView(plan);
  BecomeNobody(plan);
  // The parent may have ended in the meantime, which the control pipe tells.
  if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) Fail(plan, SandboxStep::kIdentity, errno);
  BuildRoot(plan);
  const int processes_fd = OpenProcesses();
  EnterRoot(plan);
  GiveUpPrivileges(plan);
  ExpectProcessLimitHolds(plan);
  const auto program = static_cast<pid_t>(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
  if (program < 0) Fail(plan, SandboxStep::kProcess, errno);
  if (program == 0) BecomeProgram(plan);
  close(plan.output_fd);
  Watch(plan, program, processes_fd);
}

}  // namespace cadre
