// Programs that want all there is: processes, threads, memory, disk, files, time, output.
#include "sandbox/hostile_testing.h"

namespace cadre {
namespace {

using enum ProgramEnd;

SandboxLimits Spin() {
  SandboxLimits limits = kSmallLimits;
  limits.processor_s = 1;
  limits.wall_s = 60;
  return limits;
}

std::vector<HostileFamily> Processes() {
  return {
      {"fork bomb",
       {kWallTime, kExit, kSignal, kMemory, kOutput},
       R"(
def bomb():
    while True:
        try: @
        except (OSError, RuntimeError): pass
bomb()
)",
       {"os.fork()", "os.fork() or os.fork()", "os.fork() == 0 and time.sleep(1)",
        "subprocess.Popen([sys.executable, '-c', 'while True: pass'])",
        "subprocess.Popen([sys.executable, '/program.py'])",
        "os.posix_spawn(sys.executable, [sys.executable, '/program.py'], {})",
        "os.spawnv(os.P_NOWAIT, sys.executable, [sys.executable, '/program.py'])",
        "os.fork() == 0 and os.setsid()", "os.forkpty()", "libc.fork()",
        "call(56, 0x8000 | 17, 0, 0, 0, 0)",
        "os.fork() == 0 and os.execv(sys.executable, [sys.executable, '/program.py'])",
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.fork()"},
       kShort},
      {"too many processes",
       {kExit},
       R"(
def many():
    children = 0
    while children < 100:
        if os.fork() == 0: time.sleep(100)
        children += 1
    return children
attempt(many)
)"},
      {"thread bomb",
       {kWallTime, kExit, kMemory},
       R"(
import _thread
while True:
    try: @
    except (RuntimeError, MemoryError): pass
)",
       {"_thread.start_new_thread(time.sleep, (100,))",
        "threading.Thread(target=time.sleep, args=(100,), daemon=True).start()",
        "_thread.start_new_thread(os.fork, ())"},
       kShort},
      {"too many threads",
       {kExit},
       R"(
threading.stack_size(65536)
def many():
    for i in range(200): threading.Thread(target=time.sleep, args=(100,), daemon=True).start()
attempt(many)
)"},
      {"zombies",
       {kExit},
       R"(
def many():
    for i in range(200):
        if os.fork() == 0: os._exit(0)
attempt(many)
)"},
      {"survivors",
       {kExit},
       R"(
for i in range(3):
    if os.fork() == 0:
        os.setsid()
        for number in range(1, 32):
            try: signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError): pass
        if os.fork() == 0:
            @
            time.sleep(1000)
        os._exit(0)
)",
       {"pass", "os.close(1); os.close(2)", "os.chdir('/')", "os.setpgid(0, 0)",
        "os.execv(sys.executable, [sys.executable, '-c', 'import time; time.sleep(1000)'])",
        "threading.Thread(target=time.sleep, args=(1000,)).start()"}},
  };
}

std::vector<HostileFamily> Space() {
  return {
      {"memory",
       {kMemory, kExit, kSignal, kProcessor, kWallTime},
       R"(
try:
    @
except MemoryError:
    print("refused")
    sys.exit(0)
print("HARM")
)",
       {"x = bytes(10 ** 10)", "x = b'x' * 10 ** 9",
        "x = bytearray()\n    while True: x += b'x' * 65536",
        "x = []\n    while True: x.append(b'x' * 100000)", "x = 'x'\n    while True: x += x",
        "x = list(range(10 ** 9))", "x = {i: str(i) for i in range(10 ** 9)}", "x = 1 << (1 << 40)",
        "x = []\n    while True: x = [x, x]", "import mmap\n    m = mmap.mmap(-1, 10 ** 10)",
        "import mmap\n    x = []\n    try:\n        while True:\n            "
        "x.append(mmap.mmap(-1, 1 << 20))\n"
        "            x[-1].write(b'x' * (1 << 20))\n    except OSError: raise MemoryError",
        "libc.malloc.restype = ctypes.c_void_p\n    while True:\n        p = libc.malloc(1 << 20)\n"
        "        if not p: raise MemoryError\n        ctypes.memset(ctypes.c_void_p(p), 1, 1 << "
        "20)"}},
      {"memory of many processes",
       {kMemory},
       R"(
for i in range(@):
    if os.fork() == 0:
        x = bytearray(os.urandom(1)) * (60 << 20)
        time.sleep(1000)
time.sleep(1000)
)",
       {"5", "8", "10"}},
      {"memory outside of processes",
       {kExit},
       R"(
import fcntl
attempt(lambda: @)
)",
       {"os.memfd_create('$HOSTILE')", "call(29, 0, 1 << 30, 0o1666)", "call(68, 1, 0o1666)",
        "call(64, 1, 1, 0o1666)", "call(240, b'/$HOSTILE', 0o102, 0o666, 0)",
        "fcntl.fcntl(os.pipe()[0], 1031, 1 << 20)", "call(447, 0)"}},
      {"disk",
       {kExit},
       R"(
def fill():
    @
attempt(fill)
)",
       {"open('/tmp/x', 'wb').write(b'x' * (64 << 20))",
        "f = open('/tmp/x', 'wb')\n    while True: f.write(b'x' * 65536); f.flush()",
        "[open(f'/tmp/{i}', 'wb').write(b'x') for i in range(10000)]",
        "[os.mkdir(f'/tmp/{i}') for i in range(10000)]",
        "[os.symlink('x' * 200, f'/tmp/{i}') for i in range(10000)]",
        "os.truncate(os.open('/tmp/x', os.O_RDWR | os.O_CREAT), 1 << 40)",
        "os.posix_fallocate(os.open('/tmp/x', os.O_RDWR | os.O_CREAT), 0, 1 << 30)",
        "open('/tmp/y', 'w'); [os.link('/tmp/y', f'/tmp/{i}') for i in range(10000)]",
        "[os.makedirs('/tmp/' + '/'.join('d' * i), exist_ok=True) for i in range(1, 400)]",
        "[(os.mkdir('d'), os.chdir('d')) for i in range(10000)]",
        "[open(f'/tmp/{i}', 'wb').write(b'x' * (1 << 20)) for i in range(20)]",
        "[os.setxattr('/tmp', f'user.{i}', b'x' * 4096) for i in range(10000)]"}},
      {"open files",
       {kExit},
       R"(
def fill():
    kept = []
    while True: kept.append(@)
attempt(fill)
)",
       {"open('/dev/null')", "os.pipe()", "os.dup(1)", "socket.socketpair()",
        "__import__('select').epoll()", "os.open('/', os.O_RDONLY)", "os.eventfd(0)"}},
  };
}

std::vector<HostileFamily> Time() {
  return {
      {"hangs",
       {kWallTime},
       R"(
@
)",
       {"time.sleep(1000)", "signal.pause()",
        "for n in range(1, 32):\n    try: signal.signal(n, signal.SIG_IGN)\n    except (OSError, "
        "ValueError): pass\n"
        "time.sleep(1000)",
        "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65)); time.sleep(1000)",
        "os.read(os.pipe()[0], 1)", "__import__('select').select([], [], [])",
        "lock = threading.Lock(); lock.acquire(); lock.acquire()",
        "threading.Thread(target=time.sleep, args=(1000,)).start()",
        "os.kill(os.getpid(), signal.SIGSTOP)", "os.kill(0, signal.SIGSTOP)",
        "if os.fork() == 0: time.sleep(1000)\nos.wait()",
        "if os.fork() == 0:\n    os.kill(os.getppid(), signal.SIGSTOP); "
        "time.sleep(1000)\ntime.sleep(1000)",
        "import atexit; atexit.register(time.sleep, 1000)",
        "os.fork() or os.kill(-1, signal.SIGSTOP); time.sleep(1000)",
        "import asyncio; asyncio.run(asyncio.sleep(1000))"},
       kShort},
      {"spins",
       {kProcessor},
       R"(
@
)",
       {"while True: pass", "signal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass",
        "signal.signal(signal.SIGXCPU, lambda *a: None)\nwhile True: pass", "10 ** 10 ** 9",
        "__import__('re').match('(a+)+$', 'a' * 100 + 'b')"},
       Spin()},
      {"runs itself",
       {kWallTime, kProcessor},
       "os.execv(sys.executable, [sys.executable, '-I', '/program.py'])",
       {""},
       kShort},
      {"output",
       {kOutput},
       R"(
@
)",
       {"while True: print('x' * 1000)", "while True: sys.stderr.write('x' * 1000)",
        "os.write(1, b'x' * (1 << 22))", "while True: os.write(2, bytes(65536))",
        "for i in range(4): os.fork()\nwhile True: print('x' * 1000)", "print('x' * (1 << 20))",
        "os.write(1, bytes(range(256)) * 1000)"}},
      {"breaks itself",
       {kSignal},
       R"(
@
)",
       {"os.abort()", "ctypes.string_at(0)", "os.kill(os.getpid(), signal.SIGKILL)",
        "ctypes.memset(id(None), 255, 64); None.x", "os.kill(0, signal.SIGKILL)"}},
      {"recursion",
       {kSignal, kExit, kMemory, kProcessor, kWallTime},
       R"(
sys.setrecursionlimit(@)
def f(): return f()
f()
)",
       {"1000", "10 ** 9"}},
  };
}

void Check(const std::vector<HostileFamily>& families, size_t count) {
  const size_t found = ExpectAllHarmless(families);
  if (found == 0) GTEST_SKIP() << "this machine does not permit the sandbox";
  EXPECT_EQ(found, count);
}

TEST(HostilePrograms, ThatMultiplyAreHeldToTheirNumber) { Check(Processes(), 25); }
TEST(HostilePrograms, ThatTakeSpaceGetTheirShare) { Check(Space(), 41); }
TEST(HostilePrograms, ThatDoNotEndAreEnded) { Check(Time(), 35); }

}  // namespace
}  // namespace cadre
