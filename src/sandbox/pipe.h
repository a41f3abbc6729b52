// A pipe whose ends close themselves.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace cadre {

class File {
 public:
  explicit File(int fd = -1) : fd_(fd) {}
  File(File&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  File& operator=(File&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~File() { Close(); }
  int fd() const { return fd_; }
  void Close() {
    if (fd_ >= 0) close(std::exchange(fd_, -1));
  }

 private:
  int fd_;
};

struct Pipe {
  // Neither end is a standard stream, also where those are closed.
  Pipe() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) throw Error("no pipe: {}", std::strerror(errno));
    for (int i = 0; i < 2; ++i) {
      File file(ends[i]);
      File& end = i == 0 ? read_end : write_end;
      end = ends[i] > 2 ? std::move(file) : File(fcntl(ends[i], F_DUPFD_CLOEXEC, 3));
    }
    if (read_end.fd() < 0 || write_end.fd() < 0) throw Error("no pipe: {}", std::strerror(errno));
  }
  File read_end, write_end;
};

}  // namespace cadre
