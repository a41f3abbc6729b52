#include "sandbox/inside_files.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>

#include "sandbox/inside_report.h"

namespace cadre {
namespace {

using Kind = ViewPart::Kind;

constexpr char kNewRoot[] = "/tmp";

bool MakeReadOnly(int fd, bool has_devices) {
  mount_attr attributes = {};
  attributes.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID;
  attributes.attr_set |= has_devices ? MOUNT_ATTR_NOEXEC : MOUNT_ATTR_NODEV;
  return mount_setattr(fd, "", AT_EMPTY_PATH | AT_RECURSIVE, &attributes, sizeof attributes) == 0;
}

// The folders above `path`, which is relative to the working folder.
bool MakeFoldersAbove(const char* path) {
  char folder[PATH_MAX];
  for (size_t i = 0; path[i] != '\0' && i < sizeof folder; ++i) {
    if (path[i] == '/') {
      folder[i] = '\0';
      if (mkdir(folder, 0755) != 0 && errno != EEXIST) return false;
    }
    folder[i] = path[i];
  }
  return true;
}

bool MakeEmptyFile(const char* path) {
  const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0444);
  return fd >= 0 && close(fd) == 0;
}

bool Place(const ViewPart& part, int fd) {
  const char* path = part.path.c_str() + 1;
  if (!MakeFoldersAbove(path)) return false;
  if (part.kind == Kind::kLink) return symlink(part.link.c_str(), path) == 0;
  const bool is_made =
      part.kind == Kind::kFolder ? mkdir(path, 0755) == 0 || errno == EEXIST : MakeEmptyFile(path);
  return is_made && move_mount(fd, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH) == 0 &&
         close(fd) == 0;
}

void WriteProgram(const InsidePlan& plan) {
  const int fd = open(kProgramPath + 1, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
  if (fd < 0) Fail(plan, SandboxStep::kFiles, errno);
  for (size_t done = 0; done < plan.program.size();) {
    const ssize_t count = write(fd, plan.program.data() + done, plan.program.size() - done);
    if (count <= 0) Fail(plan, SandboxStep::kFiles, errno);
    done += static_cast<size_t>(count);
  }
  close(fd);
}

void MountMemory(const InsidePlan& plan, const char* path, unsigned long flags,
                 const std::string& options) {
  if (mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV | flags, options.c_str()) != 0)
    Fail(plan, SandboxStep::kFiles, errno);
}

}  // namespace

void OpenView(InsidePlan& plan) {
  // Nothing mounted here shall be seen outside.
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    Fail(plan, SandboxStep::kMounts, errno);
  const auto& parts = plan.view->parts;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (parts[i].kind == Kind::kLink) continue;
    const int fd = open_tree(AT_FDCWD, parts[i].path.c_str(),
                             OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
    if (fd < 0 || !MakeReadOnly(fd, parts[i].kind == Kind::kDevice))
      Fail(plan, SandboxStep::kView, errno, static_cast<int>(i));
    plan.part_fds[i] = fd;
  }
}

void BuildRoot(const InsidePlan& plan) {
  MountMemory(plan, kNewRoot, 0, plan.root_options);
  if (chdir(kNewRoot) != 0 || mkdir("tmp", 0755) != 0) Fail(plan, SandboxStep::kFiles, errno);
  MountMemory(plan, "tmp", MS_NOEXEC, plan.disk_options);
  const auto& parts = plan.view->parts;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (!Place(parts[i], plan.part_fds[i]))
      Fail(plan, SandboxStep::kView, errno, static_cast<int>(i));
  }
  WriteProgram(plan);
}

void EnterRoot(const InsidePlan& plan) {
  mount_attr attributes = {};
  attributes.attr_set = MOUNT_ATTR_RDONLY;
  // The old root ends up above the new one, from where it is taken away with all below it.
  if (syscall(SYS_pivot_root, ".", ".") != 0 || umount2(".", MNT_DETACH) != 0 || chdir("/") != 0 ||
      mount_setattr(AT_FDCWD, "/", 0, &attributes, sizeof attributes) != 0 || chdir("/tmp") != 0 ||
      sethostname("sandbox", 7) != 0)
    Fail(plan, SandboxStep::kRoot, errno);
}

}  // namespace cadre
