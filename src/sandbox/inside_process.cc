#include "sandbox/inside_process.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "sandbox/pipe.h"
#include "sandbox/sandbox_failure.h"

namespace cadre {
namespace {

constexpr int kNamespaces =
    CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;

// Whether all of `text` was taken, at once: the kernel reads such files in one write.
bool WriteFile(const std::string& path, std::string_view text) {
  const File file(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  return file.fd() >= 0 &&
         write(file.fd(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

bool MapIdentity(pid_t pid, uint32_t user, uint32_t group) {
  const std::string folder = fmt::format("/proc/{}/", pid);
  return WriteFile(folder + "gid_map", fmt::format("{} {} 1", kNobody, group)) &&
         WriteFile(folder + "uid_map", fmt::format("{} {} 1", kNobody, user));
}

// Inside there is nobody only. Outside that is nobody where we may say so, else who we are; then
// the kernel wants groups given up first.
void MapIdentities(pid_t pid) {
  if (geteuid() == 0 && MapIdentity(pid, kNobody, kNobody)) return;
  if (!WriteFile(fmt::format("/proc/{}/setgroups", pid), "deny") ||
      !MapIdentity(pid, geteuid(), getegid()))
    throw Error("the sandbox cannot map its user: {}; {}", std::strerror(errno), kPermissions);
}

}  // namespace

InsideProcess::InsideProcess(InsidePlan& plan) {
  // A handler of ours must not run in the copy.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pid_ = static_cast<pid_t>(syscall(SYS_clone, kNamespaces | SIGCHLD, 0, 0, 0, 0));
  if (pid_ == 0) RunInside(plan);
  const int error = errno;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pid_ < 0)
    throw Error("the sandbox has no namespaces: {}; {}", std::strerror(error), kPermissions);
}

void InsideProcess::Begin(int control_fd) {
  MapIdentities(pid_);
  if (write(control_fd, "", 1) != 1)
    throw Error("the sandbox ended before it began: {}", std::strerror(errno));
}

// The kernel hands the first process over only when no other is left.
void InsideProcess::End() {
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
  pid_ = 0;
}

}  // namespace cadre
