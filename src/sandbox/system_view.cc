#include "sandbox/system_view.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/error.h"
#include "base/json.h"

namespace cadre {
namespace {

namespace fs = std::filesystem;

// Loads what stands on libraries of its own, then lists all files that are mapped.
constexpr char kQuestion[] = R"(
import json, os, sys
for name in ("bz2", "ctypes", "decimal", "hashlib", "lzma", "readline", "sqlite3", "ssl", "zlib"):
    try: __import__(name)
    except Exception: pass
maps = []
try:
    with open("/proc/self/maps") as file:
        maps = sorted({line.split(None, 5)[5].rstrip("\n") for line in file if "/" in line})
except OSError: pass
program = os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)
print(json.dumps({"major": sys.version_info[0], "program": program, "path": sys.path, "maps": maps}))
)";

std::string ReadAll(int fd) {
  std::string text;
  char buffer[4096];
  for (ssize_t count; (count = read(fd, buffer, sizeof buffer)) != 0;) {
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) break;
    text.append(buffer, static_cast<size_t>(count));
  }
  return text;
}

std::string Ask(const std::string& interpreter) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throw Error("no pipe: {}", std::strerror(errno));
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
  std::string words[] = {interpreter, "-I", "-c", kQuestion};
  char* arguments[] = {words[0].data(), words[1].data(), words[2].data(), words[3].data(), nullptr};
  pid_t pid = 0;
  const int error = posix_spawnp(&pid, interpreter.c_str(), &actions, nullptr, arguments, environ);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  const std::string answer = error == 0 ? ReadAll(ends[0]) : "";
  close(ends[0]);
  if (error != 0)
    throw Error("{}: the interpreter cannot be run: {}", interpreter, std::strerror(error));
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (status != 0) throw Error("{}: is no Python 3 interpreter", interpreter);
  return answer;
}

class Parts {
 public:
  // A folder, a file or a link as they are on this machine; nothing where there is none, or where a
  // folder that is there already holds it.
  void Add(const std::string& path) {
    struct stat status = {};
    if (path.empty() || path[0] != '/' || path == "/" || IsCovered(path)) return;
    if (lstat(path.c_str(), &status) != 0) return;
    if (S_ISLNK(status.st_mode)) {
      parts_.push_back({ViewPart::Kind::kLink, path, fs::read_symlink(path).string()});
    } else if (S_ISDIR(status.st_mode)) {
      parts_.push_back({ViewPart::Kind::kFolder, path, ""});
    } else if (S_ISREG(status.st_mode)) {
      parts_.push_back({ViewPart::Kind::kFile, path, ""});
    } else if (S_ISCHR(status.st_mode)) {
      parts_.push_back({ViewPart::Kind::kDevice, path, ""});
    }
  }

  // Where it really is.
  void AddReal(const std::string& path) {
    std::error_code error;
    const fs::path real = fs::canonical(path, error);
    if (!error) Add(real.string());
  }

  std::vector<ViewPart> Take() { return std::move(parts_); }

 private:
  bool IsCovered(const std::string& path) const {
    return std::any_of(parts_.begin(), parts_.end(), [&](const ViewPart& part) {
      return path == part.path ||
             (part.kind != ViewPart::Kind::kFile && path.starts_with(part.path + "/"));
    });
  }

  std::vector<ViewPart> parts_;
};

}  // namespace

SystemView FindSystemView(const std::string& interpreter) {
  const std::string text = Ask(interpreter);
  if (!text.starts_with("{")) throw Error("{}: is no Python 3 interpreter", interpreter);
  const Json answer = ParseJson(text, interpreter);
  if (answer.value("major", 0) != 3) throw Error("{}: is no Python 3 interpreter", interpreter);
  SystemView view{.interpreter = answer.at("program").get<std::string>(), .parts = {}};
  Parts parts;
  for (const char* path :
       {"/usr/lib", "/usr/lib64", "/usr/lib32", "/usr/local/lib", "/lib", "/lib64", "/lib32",
        "/etc/ld.so.cache", "/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"})
    parts.Add(path);
  parts.Add(view.interpreter);
  for (const char* key : {"path", "maps"})
    for (const auto& path : answer.at(key)) parts.AddReal(path.get<std::string>());
  view.parts = parts.Take();
  return view;
}

}  // namespace cadre
