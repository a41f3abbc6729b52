#include "sandbox/call_filter.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <initializer_list>

namespace cadre {
namespace {

#if defined(__x86_64__)
constexpr uint32_t kArchitecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr uint32_t kArchitecture = AUDIT_ARCH_AARCH64;
#else
#error "the sandbox does not know this architecture's system calls"
#endif

// clang-format off
constexpr uint32_t kAllCalls[] = {
    // Files.
    SYS_read, SYS_write, SYS_readv, SYS_writev, SYS_pread64, SYS_pwrite64, SYS_preadv, SYS_pwritev,
    SYS_preadv2, SYS_pwritev2, SYS_openat, SYS_close, SYS_close_range, SYS_fstat, SYS_newfstatat,
    SYS_statx, SYS_statfs, SYS_fstatfs, SYS_faccessat, SYS_faccessat2, SYS_lseek, SYS_dup, SYS_dup3,
    SYS_pipe2, SYS_flock, SYS_fsync, SYS_fdatasync, SYS_truncate, SYS_ftruncate, SYS_fallocate,
    SYS_fadvise64, SYS_getdents64, SYS_getcwd, SYS_chdir, SYS_fchdir, SYS_renameat, SYS_renameat2,
    SYS_mkdirat, SYS_linkat, SYS_unlinkat, SYS_symlinkat, SYS_readlinkat, SYS_fchmod, SYS_fchmodat,
    SYS_umask, SYS_utimensat,
    // Memory.
    SYS_mmap, SYS_mprotect, SYS_munmap, SYS_mremap, SYS_madvise, SYS_brk, SYS_msync,
    // Waiting.
    SYS_pselect6, SYS_ppoll, SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_pwait, SYS_epoll_pwait2,
    SYS_eventfd2, SYS_nanosleep, SYS_clock_nanosleep, SYS_futex, SYS_futex_waitv,
    SYS_restart_syscall,
    // Time.
    SYS_clock_gettime, SYS_clock_getres, SYS_gettimeofday, SYS_times, SYS_getitimer, SYS_setitimer,
    SYS_timer_create, SYS_timer_settime, SYS_timer_gettime, SYS_timer_getoverrun, SYS_timer_delete,
    SYS_timerfd_create, SYS_timerfd_settime, SYS_timerfd_gettime,
    // Processes and threads.
    SYS_execve, SYS_exit, SYS_exit_group, SYS_wait4, SYS_waitid, SYS_kill, SYS_tkill, SYS_tgkill,
    SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_rt_sigpending, SYS_rt_sigtimedwait,
    SYS_rt_sigsuspend, SYS_sigaltstack, SYS_getpid, SYS_gettid, SYS_getppid, SYS_getuid,
    SYS_geteuid, SYS_getgid, SYS_getegid, SYS_getresuid, SYS_getresgid, SYS_getgroups, SYS_getpgid,
    SYS_setpgid, SYS_getsid, SYS_setsid, SYS_set_tid_address, SYS_set_robust_list,
    SYS_get_robust_list, SYS_rseq, SYS_membarrier, SYS_sched_yield, SYS_sched_getaffinity,
    SYS_sched_getscheduler, SYS_sched_getparam, SYS_sched_get_priority_max,
    SYS_sched_get_priority_min, SYS_getcpu, SYS_getpriority,
    // What there is.
    SYS_uname, SYS_sysinfo, SYS_getrusage, SYS_getrandom,
    // Pairs of sockets within the program: asyncio has one.
    SYS_sendto, SYS_recvfrom, SYS_sendmsg, SYS_recvmsg, SYS_shutdown, SYS_getsockname,
    SYS_getpeername, SYS_getsockopt,
#if defined(__x86_64__)
    // The older names of some of them.
    SYS_open, SYS_creat, SYS_stat, SYS_lstat, SYS_access, SYS_dup2, SYS_pipe, SYS_getdents,
    SYS_rename, SYS_mkdir, SYS_rmdir, SYS_link, SYS_unlink, SYS_symlink, SYS_readlink, SYS_chmod,
    SYS_utime, SYS_utimes, SYS_futimesat, SYS_select, SYS_poll, SYS_epoll_create, SYS_epoll_wait,
    SYS_eventfd, SYS_time, SYS_alarm, SYS_pause, SYS_fork, SYS_vfork, SYS_getpgrp, SYS_getrlimit,
    SYS_arch_prctl,
#endif
};
// clang-format on

constexpr uint32_t kNewNamespaces = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC |
                                    CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWTIME;

class FilterWriter {
 public:
  std::vector<sock_filter> Write() {
    Load(offsetof(seccomp_data, arch));
    AddJump(BPF_JEQ, kArchitecture, 1, 0);
    Return(SECCOMP_RET_KILL_PROCESS);
    Load(offsetof(seccomp_data, nr));
    // Numbers of the x32 interface have a bit of their own, so they are equal to none of these.
    for (const uint32_t call : kAllCalls) {
      AddJump(BPF_JEQ, call, 0, 1);
      Return(SECCOMP_RET_ALLOW);
    }
    // Threads and processes, but no namespaces. What clone3 wants lies in memory, which a filter
    // cannot read, so it is left out: the C library then uses clone.
    Case(SYS_clone, [&] { DenyBits(0, kNewNamespaces); });
    Case(SYS_socketpair, [&] { AllowValues(0, {AF_UNIX}); });
    // Not the commands that grow pipes, take leases or send signals.
    Case(SYS_fcntl, [&] {
      AllowValues(1, {F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_GETLK,
                      F_SETLK, F_SETLKW, kOfdGetLock, kOfdSetLock, kOfdSetLockWait});
    });
    Case(SYS_ioctl, [&] {
      AllowValues(1, {FIOCLEX, FIONCLEX, FIONREAD, FIONBIO, TCGETS, TIOCGWINSZ});
    });
    Case(SYS_prctl, [&] { AllowValues(0, {PR_SET_NAME, PR_GET_NAME}); });
    Case(SYS_prlimit64, [&] { AllowReadingOwnLimits(); });
    Deny();
    return std::move(filter_);
  }

 private:
  // F_OFD_*, which need _GNU_SOURCE in some C libraries.
  static constexpr uint32_t kOfdGetLock = 36, kOfdSetLock = 37, kOfdSetLockWait = 38;

  static uint32_t ArgumentAt(int number, bool upper_half) {
    // Both architectures are little-endian.
    return static_cast<uint32_t>(offsetof(seccomp_data, args)) + 8 * static_cast<uint32_t>(number) +
           (upper_half ? 4 : 0);
  }

  void Load(size_t offset) {
    filter_.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<uint32_t>(offset)));
  }
  void AddJump(uint16_t condition, uint32_t value, uint8_t if_true, uint8_t if_false) {
    filter_.push_back(
        {static_cast<uint16_t>(BPF_JMP | condition | BPF_K), if_true, if_false, value});
  }
  void Return(uint32_t action) { filter_.push_back(BPF_STMT(BPF_RET | BPF_K, action)); }
  void Deny() { Return(SECCOMP_RET_ERRNO | ENOSYS); }

  // The body decides, and ends in a return.
  template <typename Body>
  void Case(uint32_t call, const Body& body) {
    const size_t jump = filter_.size();
    AddJump(BPF_JEQ, call, 0, 0);
    body();
    filter_[jump].jf = static_cast<uint8_t>(filter_.size() - jump - 1);
  }

  void AllowValues(int argument, std::initializer_list<uint32_t> values) {
    Load(ArgumentAt(argument, false));
    for (const uint32_t value : values) {
      AddJump(BPF_JEQ, value, 0, 1);
      Return(SECCOMP_RET_ALLOW);
    }
    Deny();
  }

  void DenyBits(int argument, uint32_t bits) {
    Load(ArgumentAt(argument, false));
    AddJump(BPF_JSET, bits, 0, 1);
    Deny();
    Return(SECCOMP_RET_ALLOW);
  }

  // prlimit64(0, what, null, where): a new limit could not be larger, but one of 0 bytes for core
  // dumps would have the machine's own handler of dumps run.
  void AllowReadingOwnLimits() {
    for (const uint32_t offset :
         {ArgumentAt(0, false), ArgumentAt(2, false), ArgumentAt(2, true)}) {
      Load(offset);
      AddJump(BPF_JEQ, 0, 1, 0);
      Deny();
    }
    Return(SECCOMP_RET_ALLOW);
  }

  std::vector<sock_filter> filter_;
};

}  // namespace

std::vector<sock_filter> CallFilter() { return FilterWriter().Write(); }

}  // namespace cadre
