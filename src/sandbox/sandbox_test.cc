#include "sandbox/sandbox.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "sandbox/hostile_testing.h"

namespace cadre {
namespace {

class SandboxTest : public ::testing::Test {
 protected:
  void SetUp() override {
    sandbox_ = OpenSandbox();
    if (sandbox_ == nullptr) GTEST_SKIP() << "this machine does not permit the sandbox";
  }
  std::string Told(std::string_view program, const SandboxLimits& limits = {}) {
    const ProgramOutcome outcome = sandbox_->Run(program, limits);
    return outcome.output + ToString(outcome);
  }
  std::unique_ptr<Sandbox> sandbox_;
};

TEST_F(SandboxTest, TellsHowAProgramEnds) {
  EXPECT_EQ(Told("print(6 * 7)"), "42\nexit 0");
  EXPECT_EQ(Told(""), "exit 0");
  EXPECT_EQ(Told("raise SystemExit(7)"), "exit 7");
  EXPECT_EQ(Told("import os; os.kill(os.getpid(), 11)"), "signal 11");
  EXPECT_EQ(Told("import time; time.sleep(100)", {.wall_s = 0.5}), "wall time");
  EXPECT_EQ(Told("while True: pass", {.wall_s = 60, .processor_s = 1}), "processor time");
  EXPECT_EQ(Told("print('x' * 100)", {.output_bytes = 10}), "xxxxxxxxxxoutput");
  EXPECT_NE(Told("x = bytes(10 ** 10)").find("MemoryError"), std::string::npos);
  EXPECT_EQ(Told("import os, time\nfor i in range(6): os.fork()\nx = b'x' * (10 << 20)\n"
                 "time.sleep(100)",
                 {.wall_s = 60, .memory_bytes = 100 << 20, .processes = 100}),
            "memory");
}

TEST_F(SandboxTest, KeepsBothStreamsInTheirOrderAndAnyBytes) {
  EXPECT_EQ(Told("import os\nos.write(1, b'a')\nos.write(2, b'b')\nos.write(1, b'\\xff\\0c')"),
            std::string("ab\xff\0c", 5) + "exit 0");
  EXPECT_NE(Told("1 / 0").find("ZeroDivisionError"), std::string::npos);
}

TEST_F(SandboxTest, LetsAProgramCompute) {
  const char program[] = R"py(
import array, asyncio, bisect, collections, copy, ctypes, datetime, decimal, fractions, functools
import hashlib, heapq, itertools, json, math, os, queue, random, re, sqlite3, statistics, string
import subprocess, sys, tempfile, threading, time, typing, unittest, zlib
assert hashlib.md5(b"a").hexdigest().startswith("0cc1")
assert asyncio.run(asyncio.sleep(0, 5)) == 5
with tempfile.NamedTemporaryFile("w+") as file:
    file.write("x" * 1000); file.seek(0); assert len(file.read()) == 1000
os.makedirs("a/b"); os.rename("a/b", "c"); os.rmdir("c"); assert os.listdir(".") == ["a"]
thread = threading.Thread(target=lambda: time.sleep(0.01)); thread.start(); thread.join()
assert subprocess.run([sys.executable, "-c", "print(3)"], capture_output=True).stdout == b"3\n"
database = sqlite3.connect("x.db"); database.execute('create table t (a)'); database.commit()
assert input.__name__ == "input" and sys.stdin.read() == ""
assert os.getcwd() == "/tmp" and os.getuid() == 65534 and os.uname().nodename == "sandbox"
print("\u00e9", sys.argv)
)py";
  EXPECT_EQ(Told(program), "\xc3\xa9 ['/program.py']\nexit 0");
}

TEST_F(SandboxTest, GivesEveryProgramAFreshFolder) {
  EXPECT_EQ(Told("import os; print(os.listdir('.')); open('x', 'w')"), "[]\nexit 0");
  EXPECT_EQ(Told("import os; print(os.listdir('.'))"), "[]\nexit 0");
}

TEST_F(SandboxTest, RunsManyAtOnce) {
  std::vector<std::thread> threads;
  std::vector<std::string> told(24);
  for (size_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (size_t i = t; i < told.size(); i += 4)
        told[i] = Told(fmt::format("print('x' * {})", i), {.wall_s = 60});
    });
  }
  for (auto& thread : threads) thread.join();
  for (size_t i = 0; i < told.size(); ++i) EXPECT_EQ(told[i], std::string(i, 'x') + "\nexit 0");
}

// The file descriptors of this process.
int64_t OpenFiles() {
  const std::filesystem::directory_iterator files("/proc/self/fd");
  return std::distance(begin(files), end(files));
}

TEST_F(SandboxTest, LeavesNothingOpen) {
  const int64_t before = OpenFiles();
  for (int i = 0; i < 3; ++i) Told("print(1)");
  Told("while True: print(1)");
  EXPECT_EQ(OpenFiles(), before);
}

// A sandbox whose owner is killed becomes a child of ours, and ends at once.
TEST_F(SandboxTest, EndsWithWhoeverRunsIt) {
  prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const pid_t owner = fork();
  if (owner == 0) {
    std::thread([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(1500));
      [[maybe_unused]] const ssize_t count = write(ends[1], "x", 1);
    }).detach();
    sandbox_->Run("import time; time.sleep(1000)", {.wall_s = 1000});
    _exit(0);
  }
  char byte;
  ASSERT_EQ(read(ends[0], &byte, 1), 1);
  EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), 0);
  kill(owner, SIGKILL);
  int gone = 0;
  for (int i = 0; i < 500 && waitpid(-1, nullptr, WNOHANG) >= 0; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    ++gone;
  }
  EXPECT_LT(gone, 500) << "somebody is left";
  EXPECT_EQ(errno, ECHILD);
  close(ends[0]);
  close(ends[1]);
}

TEST(Sandbox, SaysWhatIsNoInterpreter) {
  const auto told = [](const char* name) -> std::string {
    try {
      Sandbox sandbox(name);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(told("/no/such/python"),
            "/no/such/python: the interpreter cannot be run: No such file or directory");
  EXPECT_EQ(told("/bin/true"), "/bin/true: is no Python 3 interpreter");
  EXPECT_EQ(told("/bin/false"), "/bin/false: is no Python 3 interpreter");
}

// In a user namespace that permits no further ones, as a machine may.
TEST(Sandbox, RunsNothingWhereNamespacesAreForbidden) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const pid_t child = fork();
  if (child == 0) {
    std::string told = "skip";
    if (unshare(CLONE_NEWUSER) == 0 && std::ofstream("/proc/sys/user/max_user_namespaces")
                                           << "0" << std::flush) {
      try {
        Sandbox sandbox("/usr/bin/python3");
        told = "it ran";
      } catch (const Error& error) {
        told = error.what();
      }
    }
    [[maybe_unused]] const ssize_t count = write(ends[1], told.data(), told.size());
    _exit(0);
  }
  close(ends[1]);
  char told[1000] = {};
  ASSERT_GT(read(ends[0], told, sizeof told - 1), 0);
  close(ends[0]);
  waitpid(child, nullptr, 0);
  if (std::string_view(told) == "skip") GTEST_SKIP() << "there is no way to forbid them here";
  EXPECT_THAT(told, ::testing::HasSubstr("the sandbox has no namespaces: No space left"));
  EXPECT_THAT(told, ::testing::HasSubstr("user.max_user_namespaces"));
}

}  // namespace
}  // namespace cadre
