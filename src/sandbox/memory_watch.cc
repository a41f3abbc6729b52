#include "sandbox/memory_watch.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>

namespace cadre {
namespace {

// The second number of "PID/statm": pages in memory.
int64_t ResidentPages(int processes_fd, const char* pid) {
  char path[64], text[128];
  if (strlen(pid) > 32) return 0;
  strcpy(stpcpy(path, pid), "/statm");
  const int fd = openat(processes_fd, path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  const ssize_t count = read(fd, text, sizeof text - 1);
  close(fd);
  if (count <= 0) return 0;
  text[count] = '\0';
  int64_t pages = 0;
  const char* at = strchr(text, ' ');
  for (at = at == nullptr ? "" : at + 1; *at >= '0' && *at <= '9'; ++at)
    pages = 10 * pages + (*at - '0');
  return pages;
}

bool IsOtherProcess(const char* name) {
  return name[0] >= '1' && name[0] <= '9' && strcmp(name, "1") != 0;
}

}  // namespace

int OpenProcesses() {
  const int context = fsopen("proc", FSOPEN_CLOEXEC);
  if (context < 0) return -1;
  int fd = -1;
  if (fsconfig(context, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) == 0) {
    const int mount =
        fsmount(context, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
    if (mount >= 0) {
      fd = openat(mount, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
      close(mount);
    }
  }
  close(context);
  return fd;
}

int64_t MemoryInUse(int processes_fd) {
  if (processes_fd < 0) return 0;
  // getdents64 itself: the C library's readdir allocates.
  alignas(dirent64) char buffer[4096];
  int64_t pages = 0;
  lseek(processes_fd, 0, SEEK_SET);
  for (long size; (size = syscall(SYS_getdents64, processes_fd, buffer, sizeof buffer)) > 0;) {
    for (long at = 0; at < size;) {
      const auto* entry = reinterpret_cast<const dirent64*>(buffer + at);
      if (IsOtherProcess(entry->d_name)) pages += ResidentPages(processes_fd, entry->d_name);
      at += entry->d_reclen;
    }
  }
  return pages * sysconf(_SC_PAGESIZE);
}

}  // namespace cadre
