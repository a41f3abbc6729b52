// For tests: programs that try to do harm, and a machine that notices. A program prints HARM where
// it was let do what it must not.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/testing.h"
#include "sandbox/sandbox.h"

namespace cadre {

// Null, and the test is skipped, where this machine does not permit the sandbox.
inline std::unique_ptr<Sandbox> OpenSandbox() {
  try {
    return std::make_unique<Sandbox>("python3");
  } catch (const Error& error) {
    std::fprintf(stderr, "NOT TESTED: %s\n", error.what());
    return nullptr;
  }
}

inline constexpr SandboxLimits kSmallLimits = {.wall_s = 30,
                                               .processor_s = 10,
                                               .memory_bytes = 192 << 20,
                                               .processes = 12,
                                               .disk_bytes = 4 << 20,
                                               .files = 200,
                                               .open_files = 48,
                                               .output_bytes = 64 << 10};
// For programs that would go on for ever.
inline constexpr SandboxLimits kShort = [] {
  SandboxLimits limits = kSmallLimits;
  limits.wall_s = 1;
  return limits;
}();

// One program for each variant, which stands where the text says @. In texts, $PID is the tests'
// own process, $OUTSIDE a folder of theirs that everybody may write to, with a file `secret`; $PORT
// a server of theirs on this machine, $SOCKET one at a path, $ABSTRACT one by name.
struct HostileFamily {
  std::string name;
  std::vector<ProgramEnd> ends;  // each of them is what may become of it
  std::string text;
  std::vector<std::string> variants = {""};
  SandboxLimits limits = kSmallLimits;
};

inline constexpr char kPrelude[] = R"(
import ctypes, os, signal, socket, subprocess, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    result = libc.syscall(number, *arguments)
    if result == -1: raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
def attempt(action):
    try: result = action()
    except BaseException as error: print("refused", type(error).__name__, error)
    else: print("HARM", result)
)";

inline std::string Substituted(std::string text, const std::string& name,
                               const std::string& value) {
  for (size_t at = 0; (at = text.find(name, at)) != std::string::npos; at += value.size())
    text.replace(at, name.size(), value);
  return text;
}

// Things of the tests' own that no program may reach.
class Machine {
 public:
  Machine() {
    chmod(folder_.path().c_str(), 0777);
    std::ofstream(folder_ / "secret") << secret();
    chmod((folder_ / "secret").c_str(), 0666);
    setenv("CADRE_TEST_SECRET", secret().c_str(), 1);
    inherited_ = open((folder_ / "secret").c_str(), O_RDWR);  // not closed on exec
    // Who loses its parent would become a child of ours.
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    sockaddr_in port = {};
    port.sin_family = AF_INET;
    port.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    Serve(AF_INET, &port, sizeof port);
    socklen_t size = sizeof port;
    getsockname(servers_[0], reinterpret_cast<sockaddr*>(&port), &size);
    port_ = ntohs(port.sin_port);
    ServeUnix(folder_ / "socket", false);
    ServeUnix(nonce_, true);
    chmod((folder_ / "socket").c_str(), 0777);
  }
  ~Machine() {
    for (const int server : servers_) close(server);
    close(inherited_);
  }

  std::string secret() const { return "secret-" + nonce_; }

  std::string Filled(std::string text) const {
    text = Substituted(text, "$OUTSIDE", folder_.path());
    text = Substituted(text, "$SOCKET", folder_ / "socket");
    text = Substituted(text, "$ABSTRACT", nonce_);
    text = Substituted(text, "$PORT", std::to_string(port_));
    text = Substituted(text, "$HOSTILE", "hostile-" + nonce_);
    return Substituted(text, "$PID", std::to_string(getpid()));
  }

  void ExpectUntouched() const {
    EXPECT_LT(waitpid(-1, nullptr, WNOHANG), 0) << "a process is left";
    std::ifstream file(folder_ / "secret");
    std::string text;
    std::getline(file, text);
    EXPECT_EQ(text, secret());
    int64_t files = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder_.path()))
      ++files;
    EXPECT_EQ(files, 2);
    for (const char* folder : {"/", "/tmp", "/var/tmp", "/dev/shm", "/usr/lib", "/root", "/home",
                               "/etc", "/run", "/dev/mqueue", "."})
      EXPECT_FALSE(std::filesystem::exists(std::filesystem::path(folder) / ("hostile-" + nonce_)))
          << folder;
    for (const int server : servers_) EXPECT_LT(accept(server, nullptr, nullptr), 0);
  }

 private:
  void Serve(int family, void* address, socklen_t size) {
    const int server = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    ASSERT_EQ(bind(server, static_cast<sockaddr*>(address), size), 0);
    ASSERT_EQ(listen(server, 5), 0);
    servers_.push_back(server);
  }
  void ServeUnix(const std::string& name, bool is_abstract) {
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    name.copy(address.sun_path + (is_abstract ? 1 : 0), sizeof address.sun_path - 2);
    Serve(AF_UNIX, &address, static_cast<socklen_t>(sizeof address.sun_family + 1 + name.size()));
  }

  const base_testing::TempFolder folder_;
  const std::string nonce_ = folder_.path().substr(folder_.path().rfind('-') + 1);
  int inherited_ = -1;
  int port_ = 0;
  std::vector<int> servers_;
};

struct HostileProgram {
  const HostileFamily* family;
  std::string name;
  std::string text;
};

inline void ExpectHarmless(const Sandbox& sandbox, const Machine& machine,
                           const HostileProgram& program) {
  const std::string filled = machine.Filled(kPrelude + program.text);
  const ProgramOutcome outcome = sandbox.Run(filled, program.family->limits);
  const auto& ends = program.family->ends;
  const std::string told = program.name + ": " + ToString(outcome) + "\n" + outcome.output;
  EXPECT_NE(std::find(ends.begin(), ends.end(), outcome.end), ends.end()) << told;
  EXPECT_EQ(outcome.output.find("HARM"), std::string::npos) << told;
  EXPECT_EQ(outcome.output.find(machine.secret()), std::string::npos) << told;
  EXPECT_LE(outcome.output.size(), program.family->limits.output_bytes);
  EXPECT_LT(outcome.wall_s, program.family->limits.wall_s + 5) << told;
  // A program that only tries to do something tells that it could not.
  if (program.text.find("attempt(") != std::string::npos && outcome.end == ProgramEnd::kExit) {
    EXPECT_NE(outcome.output.find("refused"), std::string::npos) << told;
    EXPECT_EQ(outcome.code, 0) << told;
  }
}

// Runs all of them, several at a time. Returns how many there are.
inline size_t ExpectAllHarmless(const std::vector<HostileFamily>& families) {
  const auto sandbox = OpenSandbox();
  if (sandbox == nullptr) return 0;
  const Machine machine;
  std::vector<HostileProgram> programs;
  for (const HostileFamily& family : families) {
    for (const std::string& variant : family.variants)
      programs.push_back(
          {&family, family.name + ": " + variant, Substituted(family.text, "@", variant)});
  }
  std::atomic<size_t> next = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 6; ++i) {
    threads.emplace_back([&] {
      for (size_t at; (at = next++) < programs.size();)
        ExpectHarmless(*sandbox, machine, programs[at]);
    });
  }
  for (auto& thread : threads) thread.join();
  machine.ExpectUntouched();
  return programs.size();
}

}  // namespace cadre
