#include "base/locked_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace cadre {
namespace {

bool IsOpen(int fd, const std::string& path) {
  struct stat opened {
  }, named{};
  return fstat(fd, &opened) == 0 && stat(path.c_str(), &named) == 0 &&
         opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

}  // namespace

int OpenLocked(const std::string& path, const char* doing) {
  while (true) {
    const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0) throw Error("{}: cannot be written: {}", path, std::strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
      close(fd);
      throw Error("{}: another process is {} it", path, doing);
    }
    // Between opening and locking, another process may have finished it and given it its name.
    if (IsOpen(fd, path)) return fd;
    close(fd);
  }
}

}  // namespace cadre
