// Programs that reach for what is not theirs: files, devices, the network, secrets, other
// processes.
#include "sandbox/hostile_testing.h"

namespace cadre {
namespace {

using enum ProgramEnd;

std::vector<HostileFamily> Files() {
  return {
      {"writes a file",
       {kExit},
       "attempt(lambda: open('@', 'w').write('x'))",
       {"/$HOSTILE",
        "/usr/$HOSTILE",
        "/usr/lib/$HOSTILE",
        "/usr/bin/$HOSTILE",
        "/etc/$HOSTILE",
        "/etc/passwd",
        "/etc/ld.so.cache",
        "/root/$HOSTILE",
        "/home/$HOSTILE",
        "/var/tmp/$HOSTILE",
        "/run/$HOSTILE",
        "/dev/$HOSTILE",
        "/dev/shm/$HOSTILE",
        "/dev/mqueue/$HOSTILE",
        "/lib64/$HOSTILE",
        "/program.py",
        "/sys/kernel/mm/ksm/run",
        "/proc/sys/kernel/core_pattern",
        "/proc/sysrq-trigger",
        "$OUTSIDE/$HOSTILE",
        "$OUTSIDE/secret",
        "../..$OUTSIDE/secret",
        "../../../../../../../tmp/../$HOSTILE",
        "/lib64/ld-linux-x86-64.so.2"}},
      {"changes the interpreter",
       {kExit},
       "attempt(lambda: @)",
       {"open(sys.executable, 'r+b')", "open(os.__file__, 'a')", "os.unlink(os.__file__)",
        "os.rename(os.__file__, '/tmp/os.py')", "os.link(os.__file__, '/tmp/os.py')",
        "os.chmod(os.__file__, 0o777)", "os.utime(os.__file__, (0, 0))",
        "os.chmod(sys.executable, 0o4755)", "os.mkdir(os.path.dirname(os.__file__) + '/$HOSTILE')",
        "os.truncate(os.__file__, 0)", "os.rmdir('/usr/lib')", "os.rename('/usr', '/usr2')",
        "os.symlink('/tmp', '/usr/lib/$HOSTILE')", "os.rename('/tmp', '/$HOSTILE')",
        "__import__('fcntl').fcntl(open(os.__file__), 1024, 0)"}},
      {"climbs out",
       {kExit},
       "def climb():\n    @\nattempt(climb)",
       {"os.symlink('$OUTSIDE/secret', '/tmp/a'); print(open('/tmp/a').read())",
        "os.symlink('/', '/tmp/a'); print(open('/tmp/a/$OUTSIDE/secret').read())",
        "os.link('$OUTSIDE/secret', '/tmp/a')", "os.chroot('/tmp')",
        "[os.chdir('..') for i in range(50)]; print(open('.$OUTSIDE/secret').read())",
        "fd = os.open('/', os.O_RDONLY); os.fchdir(fd); print(open('..$OUTSIDE/secret').read())",
        "fd = os.open('..', os.O_RDONLY); print(os.open('..$OUTSIDE/secret', 0, dir_fd=fd))",
        "os.rename('$OUTSIDE/secret', '/tmp/a')", "print(os.listdir('$OUTSIDE'))",
        "print(os.listdir('/proc/$PID/root$OUTSIDE'))", "print(os.listdir('/var'))",
        "print(open('/proc/self/cwd$OUTSIDE/secret').read())"}},
      {"a device",
       {kExit},
       "attempt(lambda: os.open('/dev/@', os.O_RDWR))",
       {"mem", "kmem", "port", "sda", "vda", "nvme0n1", "tty", "ptmx", "pts/0", "kvm", "fuse",
        "net/tun", "kmsg", "console", "loop-control", "rtc", "watchdog", "fd/0"}},
      {"a device of its own",
       {kExit},
       "attempt(lambda: os.mknod('/tmp/x', @))",
       {"0o60666, os.makedev(254, 0)", "0o20666, os.makedev(1, 1)", "0o20666, os.makedev(1, 3)"}},
  };
}

std::vector<HostileFamily> Network() {
  return {
      {"connects",
       {kExit},
       "attempt(lambda: @)",
       {"socket.create_connection(('127.0.0.1', $PORT), 1)",
        "socket.create_connection(('localhost', $PORT), 1)",
        "socket.create_connection(('::1', $PORT), 1)",
        "socket.create_connection(('8.8.8.8', 53), 1)",
        "socket.socket(socket.AF_UNIX).connect('$SOCKET')",
        "socket.socket(socket.AF_UNIX).connect('\\0$ABSTRACT')",
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', $PORT))",
        "socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)", "socket.socket(17, 3, 768)",
        "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)", "socket.socket(38, 5, 0)",
        "socket.socket(40, 1, 0)", "socket.socket().bind(('0.0.0.0', 0))",
        "__import__('urllib.request').request.urlopen('http://127.0.0.1:$PORT', timeout=1)",
        "socket.socketpair(socket.AF_INET)", "socket.if_nameindex()",
        "socket.getaddrinfo('example.org', 80)", "socket.socketpair()[0].connect('$SOCKET')",
        "socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0].sendto(b'x', '\\0$ABSTRACT')"}},
  };
}

std::vector<HostileFamily> Secrets() {
  return {
      {"the environment",
       {kExit},
       "print(@)",
       {"os.environ", "libc.getenv(b'CADRE_TEST_SECRET')", "sorted(os.environb)",
        "subprocess.run([sys.executable, '-c', 'import os; print(os.environ)'], "
        "capture_output=True)"}},
      {"memory of others",
       {kExit},
       "attempt(lambda: print(open('/proc/@', 'rb').read()))",
       {"self/environ", "1/environ", "$PID/environ", "$PID/mem", "1/mem", "self/mem", "1/maps",
        "kcore", "kallsyms", "1/root/etc/shadow", "keys", "self/fd/3", "net/unix", "sched_debug"}},
      {"files that are open", {kExit}, R"(
found = []
for fd in range(3, 4096):
    try: found.append((fd, os.fstat(fd)))
    except OSError: pass
for fd, status in found: print('HARM', fd, status)
print(repr(sys.stdin.read()))
)"},
      {"a walk over all files", {kExit}, R"(
for folder, folders, files in os.walk('/'):
    if '/lib' in folder:
        folders.clear()
        continue
    for name in files:
        if 'secret' in name or 'shadow' in name: print('HARM', folder, name)
for folder in ('/home', '/sys', '/proc', '/var', '/run', '/mnt', '/srv', '/opt', '/boot', '/etc/ssl'):
    if os.path.exists(folder): print('HARM', folder)
if os.path.exists('/root'): print([x for x in os.listdir('/root') if x not in ('.pyenv',)])
)"},
      {"a file of passwords",
       {kExit},
       "attempt(lambda: print(open('@').read()))",
       {"/etc/shadow", "/etc/passwd", "/root/.ssh/id_rsa", "/root/.bash_history", "/root/.netrc",
        "/etc/hostname", "/etc/resolv.conf", "/var/run/docker.sock",
        "/sys/class/dmi/id/product_uuid"}},
  };
}

std::vector<HostileFamily> Others() {
  return {
      {"signals",
       {kExit},
       "attempt(lambda: @)",
       {"os.kill($PID, 9)", "os.kill($PID, 15)", "os.killpg(os.getpgid($PID), 9)",
        "os.kill(os.getppid() + 100000, 9)", "signal.pidfd_send_signal(os.pidfd_open($PID), 9)",
        "call(129, $PID, 9, ctypes.create_string_buffer(128))", "os.kill(-$PID, 9)"}},
      {"signals without answer",
       {kExit, kSignal},
       R"(
for i in range(3):
    @
time.sleep(0.1)
print(os.getppid())
)",
       {"os.kill(1, 9)", "os.kill(1, 15)", "os.kill(1, 19)", "os.kill(os.getppid(), 9)",
        "os.kill(1, 2)", "os.kill(-1, 9)", "os.kill(0, 15)", "[os.kill(p, 0) for p in (1, 2)]"}},
      {"signals to everybody", {kExit}, R"(
for pid in range(2, 5000):
    if pid != os.getpid():
        try: os.kill(pid, 9)
        except ProcessLookupError: continue
        print('HARM', pid)
)"},
      {"the parent's limits",
       {kExit},
       "attempt(lambda: __import__('resource').prlimit(@))",
       {"1, 0, (0, 0)", "$PID, 0, (0, 0)", "0, 4, (0, 0)", "1, 7"}},
  };
}

void Check(const std::vector<HostileFamily>& families, size_t count) {
  const size_t found = ExpectAllHarmless(families);
  if (found == 0) GTEST_SKIP() << "this machine does not permit the sandbox";
  EXPECT_EQ(found, count);
}

TEST(HostilePrograms, ReachNoFileNorDevice) { Check(Files(), 72); }
TEST(HostilePrograms, ReachNoNetwork) { Check(Network(), 19); }
TEST(HostilePrograms, LearnNoSecret) { Check(Secrets(), 29); }
TEST(HostilePrograms, ReachNoOtherProcess) { Check(Others(), 20); }

}  // namespace
}  // namespace cadre
