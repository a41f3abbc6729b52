#include "base/atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "base/error.h"

namespace cadre {

AtomicFile::AtomicFile(std::string path)
    : path_(std::move(path)), temporary_path_(fmt::format("{}.tmp-{}", path_, getpid())) {
  fd_ = open(temporary_path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd_ < 0) throw Error("{}: cannot be written: {}", path_, std::strerror(errno));
  buffer_.reserve(size_t{1} << 20);
}

AtomicFile::~AtomicFile() {
  if (fd_ < 0) return;
  close(fd_);
  unlink(temporary_path_.c_str());
}

void AtomicFile::Write(std::span<const std::byte> bytes) {
  size_ += bytes.size();
  while (!bytes.empty()) {
    if (buffer_.size() == buffer_.capacity()) Flush();
    const size_t part = std::min(bytes.size(), buffer_.capacity() - buffer_.size());
    buffer_.append(reinterpret_cast<const char*>(bytes.data()), part);
    bytes = bytes.subspan(part);
  }
}

void AtomicFile::Flush() {
  size_t done = 0;
  while (done < buffer_.size()) {
    const ssize_t written = write(fd_, buffer_.data() + done, buffer_.size() - done);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) throw Error("{}: writing failed: {}", path_, std::strerror(errno));
    done += static_cast<size_t>(written);
  }
  buffer_.clear();
}

void AtomicFile::Commit() {
  Flush();
  if (fsync(fd_) != 0) throw Error("{}: syncing failed: {}", path_, std::strerror(errno));
  if (rename(temporary_path_.c_str(), path_.c_str()) != 0) {
    throw Error("{}: renaming into place failed: {}", path_, std::strerror(errno));
  }
  close(fd_);
  fd_ = -1;
  const auto folder = std::filesystem::path(path_).parent_path();
  SyncFolder(folder.empty() ? "." : folder.string());
}

void WriteFileAtomically(const std::string& path, std::string_view text) {
  AtomicFile file(path);
  file.Write(text);
  file.Commit();
}

void SyncFolder(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) throw Error("{}: cannot be opened: {}", path, std::strerror(errno));
  fsync(fd);
  close(fd);
}

}  // namespace cadre
