// Programs that ask the kernel itself, by the numbers of its calls.
#include <sys/syscall.h>

#include "sandbox/hostile_testing.h"

namespace cadre {
namespace {

using enum ProgramEnd;

struct Call {
  const char* name;
  long number;
  const char* arguments;
};

// The pointers are to nothing: a call that gets past the filter would say EFAULT, EINVAL or worse,
// and the tests want ENOSYS.
constexpr Call kCalls[] = {
    {"ptrace traceme", SYS_ptrace, "0, 0, 0, 0"},
    {"ptrace attach", SYS_ptrace, "16, 1, 0, 0"},
    {"process_vm_readv", SYS_process_vm_readv, "1, 0, 0, 0, 0, 0"},
    {"process_vm_writev", SYS_process_vm_writev, "1, 0, 0, 0, 0, 0"},
    {"kcmp", SYS_kcmp, "1, 2, 0, 0, 0"},
    {"pidfd_getfd", SYS_pidfd_getfd, "0, 1, 0"},
    {"setuid", SYS_setuid, "0"},
    {"setgid", SYS_setgid, "0"},
    {"setresuid", SYS_setresuid, "0, 0, 0"},
    {"setgroups", SYS_setgroups, "0, 0"},
    {"setfsuid", SYS_setfsuid, "0"},
    {"capset", SYS_capset, "0, 0"},
    {"unshare user", SYS_unshare, "0x10000000"},
    {"unshare mounts", SYS_unshare, "0x20000"},
    {"unshare network", SYS_unshare, "0x40000000"},
    {"setns", SYS_setns, "0, 0"},
    {"clone user", SYS_clone, "0x10000000 | 17, 0, 0, 0, 0"},
    {"clone processes", SYS_clone, "0x20000000 | 17, 0, 0, 0, 0"},
    {"clone network", SYS_clone, "0x40000000 | 17, 0, 0, 0, 0"},
    {"clone time", SYS_clone, "0x80, 0, 0, 0, 0"},
    {"clone3", SYS_clone3, "0, 88"},
    {"chroot", SYS_chroot, "b'/tmp'"},
    {"pivot_root", SYS_pivot_root, "b'/tmp', b'/tmp'"},
    {"mount", SYS_mount, "b'tmpfs', b'/tmp', b'tmpfs', 0, 0"},
    {"remount", SYS_mount, "0, b'/', 0, 0x20 | 0x1000, 0"},
    {"umount2", SYS_umount2, "b'/tmp', 2"},
    {"fsopen", SYS_fsopen, "b'tmpfs', 0"},
    {"fsmount", SYS_fsmount, "0, 0, 0"},
    {"fspick", SYS_fspick, "-100, b'/', 0"},
    {"open_tree", SYS_open_tree, "-100, b'/', 1"},
    {"move_mount", SYS_move_mount, "-100, b'/', -100, b'/tmp', 0"},
    {"mount_setattr", SYS_mount_setattr, "-100, b'/', 0, 0, 0"},
    {"swapon", SYS_swapon, "b'/tmp/x', 0"},
    {"reboot", SYS_reboot, "0xfee1dead, 672274793, 0x1234567, 0"},
    {"init_module", SYS_init_module, "0, 0, 0"},
    {"finit_module", SYS_finit_module, "0, 0, 0"},
    {"delete_module", SYS_delete_module, "b'x', 0"},
    {"kexec_load", SYS_kexec_load, "0, 0, 0, 0"},
    {"bpf", SYS_bpf, "0, 0, 0"},
    {"perf_event_open", SYS_perf_event_open, "0, 0, -1, -1, 0"},
    {"seccomp", SYS_seccomp, "0, 0, 0"},
    {"prctl seccomp", SYS_prctl, "22, 1, 0, 0, 0"},
    {"prctl dumpable", SYS_prctl, "4, 1, 0, 0, 0"},
    {"prctl subreaper", SYS_prctl, "36, 1, 0, 0, 0"},
    {"io_uring_setup", SYS_io_uring_setup, "1, 0"},
    {"io_setup", SYS_io_setup, "1, 0"},
    {"userfaultfd", SYS_userfaultfd, "0"},
    {"add_key", SYS_add_key, "b'user', b'x', b'y', 1, -3"},
    {"request_key", SYS_request_key, "b'user', b'x', 0, -3"},
    {"keyctl", SYS_keyctl, "0, -3, 0, 0, 0"},
    {"name_to_handle_at", SYS_name_to_handle_at, "-100, b'/', 0, 0, 0"},
    {"open_by_handle_at", SYS_open_by_handle_at, "-100, 0, 0"},
    {"fanotify_init", SYS_fanotify_init, "0, 0"},
    {"inotify_init1", SYS_inotify_init1, "0"},
    {"memfd_secret", SYS_memfd_secret, "0"},
    {"settimeofday", SYS_settimeofday, "0, 0"},
    {"clock_settime", SYS_clock_settime, "0, 0"},
    {"adjtimex", SYS_adjtimex, "0"},
    {"sethostname", SYS_sethostname, "b'x', 1"},
    {"setdomainname", SYS_setdomainname, "b'x', 1"},
    {"syslog", SYS_syslog, "3, 0, 0"},
    {"acct", SYS_acct, "b'/tmp/x'"},
    {"quotactl", SYS_quotactl, "0, 0, 0, 0"},
    {"personality", SYS_personality, "0x40000"},
    {"vhangup", SYS_vhangup, ""},
    {"sync", SYS_sync, ""},
    {"mlockall", SYS_mlockall, "1"},
    {"setpriority", SYS_setpriority, "0, 1, 19"},
    {"sched_setscheduler", SYS_sched_setscheduler, "0, 1, 0"},
    {"sched_setaffinity", SYS_sched_setaffinity, "1, 8, 0"},
    {"ioprio_set", SYS_ioprio_set, "1, 1, 0"},
    {"setrlimit", SYS_setrlimit, "4, 0"},
    {"shmget", SYS_shmget, "1, 4096, 0o1666"},
    {"semget", SYS_semget, "1, 1, 0o1666"},
    {"msgget", SYS_msgget, "1, 0o1666"},
    {"mq_open", SYS_mq_open, "b'x', 0o102, 0o666, 0"},
    {"vmsplice", SYS_vmsplice, "1, 0, 0, 0"},
    {"execveat", SYS_execveat, "-100, b'/program.py', 0, 0, 0"},
    {"migrate_pages", SYS_migrate_pages, "1, 0, 0, 0"},
    {"landlock", SYS_landlock_create_ruleset, "0, 0, 1"},
    {"ioctl tiocsti", SYS_ioctl, "0, 0x5412, b'x'"},
    {"fcntl lease", SYS_fcntl, "0, 1024, 0"},
    {"fcntl owner", SYS_fcntl, "0, 8, 1"},
    {"x32", 0x40000000 + SYS_getpid, ""},
    {"no call", 9999, ""},
    {"negative", -1, ""},
};

std::vector<HostileFamily> Calls() {
  HostileFamily family{"call",
                       {kExit},
                       R"(
try: call(@)
except OSError as error: print("refused", error) if error.errno == 38 else print("HARM", error)
else: print("HARM")
)",
                       {},
                       kSmallLimits};
  for (const Call& call : kCalls) {
    std::string words = fmt::format("{}, {}", call.number, call.arguments);
    family.variants.push_back(words);
  }
  return {family};
}

#if defined(__x86_64__)
// getpid as the 32-bit interface calls it.
TEST(HostilePrograms, OfAnotherArchitectureAreKilled) {
  const auto sandbox = OpenSandbox();
  if (sandbox == nullptr) GTEST_SKIP() << "this machine does not permit the sandbox";
  const ProgramOutcome outcome = sandbox->Run(R"(
import ctypes, mmap
code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
code.write(bytes([0xb8, 20, 0, 0, 0, 0xcd, 0x80, 0xc3]))
address = ctypes.addressof(ctypes.c_char.from_buffer(code))
print("before", flush=True)
print("HARM", ctypes.CFUNCTYPE(ctypes.c_int)(address)(), flush=True)
)");
  EXPECT_EQ(ToString(outcome), "signal 31") << outcome.output;
  EXPECT_EQ(outcome.output, "before\n");
}
#endif

std::vector<HostileFamily> Programs() {
  return {
      {"another program",
       {kExit},
       "attempt(lambda: os.execv('@', ['x', '-c', 'echo HARM']))",
       {"/bin/sh", "/usr/bin/sudo", "/usr/bin/su", "/bin/mount", "/proc/self/exe",
        "/usr/bin/newuidmap"}},
      {"a program of its own",
       {kExit},
       R"(
open('/tmp/x', 'wb').write(@)
os.chmod('/tmp/x', 0o6755)
attempt(lambda: os.execv('/tmp/x', ['x']))
)",
       {"b'#!' + sys.executable.encode() + b'\\nprint(\"HARM\")'",
        "open(sys.executable, 'rb').read(1 << 20)"}},
      {"a library of its own", {kExit}, R"(
open('/tmp/x.so', 'wb').write(b'\x7fELF' + bytes(1000))
attempt(lambda: ctypes.CDLL('/tmp/x.so'))
)"},
  };
}

void Check(const std::vector<HostileFamily>& families, size_t count) {
  const size_t found = ExpectAllHarmless(families);
  if (found == 0) GTEST_SKIP() << "this machine does not permit the sandbox";
  EXPECT_EQ(found, count);
}

TEST(HostilePrograms, MayMakeNoCallThatIsNotListed) { Check(Calls(), std::size(kCalls)); }
TEST(HostilePrograms, StartNoOther) { Check(Programs(), 9); }

}  // namespace
}  // namespace cadre
