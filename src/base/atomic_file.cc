#include "base/atomic_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/error.h"

namespace cadre {
namespace {

constexpr uint64_t kSyncEveryBytes = uint64_t{256} << 20;

// The number in the file; 0 where there is none.
uint64_t SyncedBytes(const std::string& path) {
  std::ifstream file(path);
  uint64_t bytes = 0;
  return file >> bytes ? bytes : 0;
}

}  // namespace

AtomicFile::AtomicFile(std::string path, Unfinished unfinished)
    : path_(std::move(path)), keep_(unfinished == Unfinished::kKeep) {
  unfinished_path_ = keep_ ? path_ + ".partial" : fmt::format("{}.tmp-{}", path_, getpid());
  synced_path_ = unfinished_path_ + ".synced";
  const int truncate = keep_ ? 0 : O_TRUNC;
  fd_ = open(unfinished_path_.c_str(), O_RDWR | O_CREAT | truncate | O_CLOEXEC, 0644);
  if (fd_ < 0) throw Error("{}: cannot be written: {}", path_, std::strerror(errno));
  buffer_.reserve(size_t{1} << 20);
  if (!keep_) return;
  if (flock(fd_, LOCK_EX | LOCK_NB) != 0) {
    close(fd_);
    throw Error("{}: another process is writing it", unfinished_path_);
  }
  struct stat info {};
  if (fstat(fd_, &info) == 0)
    kept_bytes_ = std::min(static_cast<uint64_t>(info.st_size), SyncedBytes(synced_path_));
}

AtomicFile::~AtomicFile() {
  if (fd_ < 0) return;
  const bool nothing_kept = !started_ && kept_bytes_ == 0;
  if (!keep_ || nothing_kept) {
    unlink(unfinished_path_.c_str());
  } else if (started_) {
    try {
      Flush();
      Sync();
    } catch (const Error&) {  // what is kept is then what was synced before
    }
  }
  close(fd_);
}

bool AtomicFile::KeptBeginWith(std::string_view bytes) const {
  if (bytes.size() > kept_bytes_) return false;
  std::string found(bytes.size(), '\0');
  size_t done = 0;
  while (done < found.size()) {
    const ssize_t got =
        pread(fd_, found.data() + done, found.size() - done, static_cast<off_t>(done));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    done += static_cast<size_t>(got);
  }
  return found == bytes;
}

void AtomicFile::ContinueAt(uint64_t size) {
  CADRE_CHECK(!started_ && size <= kept_bytes_);
  started_ = true;
  written_bytes_ = size;
  const auto end = static_cast<off_t>(size);
  if (keep_) std::remove(synced_path_.c_str());
  if (ftruncate(fd_, end) != 0 || lseek(fd_, end, SEEK_SET) != end)
    throw Error("{}: cannot be cut to {} bytes: {}", unfinished_path_, size, std::strerror(errno));
  if (keep_ && size > 0) WriteFileAtomically(synced_path_, std::to_string(size));
}

void AtomicFile::Write(std::span<const std::byte> bytes) {
  if (!started_) ContinueAt(0);
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
  written_bytes_ += buffer_.size();
  unsynced_bytes_ += buffer_.size();
  buffer_.clear();
  if (keep_ && unsynced_bytes_ >= kSyncEveryBytes) Sync();
}

// What the kernel has, and a note of how much that is.
void AtomicFile::Sync() {
  if (fdatasync(fd_) != 0) throw Error("{}: syncing failed: {}", path_, std::strerror(errno));
  unsynced_bytes_ = 0;
  WriteFileAtomically(synced_path_, std::to_string(written_bytes_));
}

void AtomicFile::Commit() {
  if (!started_) ContinueAt(0);
  Flush();
  if (fsync(fd_) != 0) throw Error("{}: syncing failed: {}", path_, std::strerror(errno));
  if (rename(unfinished_path_.c_str(), path_.c_str()) != 0) {
    throw Error("{}: renaming into place failed: {}", path_, std::strerror(errno));
  }
  close(fd_);
  fd_ = -1;
  if (keep_) std::remove(synced_path_.c_str());
  const auto folder = std::filesystem::path(path_).parent_path();
  SyncFolder(folder.empty() ? "." : folder.string());
}

bool FileIs(const std::string& path, std::string_view start, uint64_t size) {
  std::error_code error;
  if (std::filesystem::file_size(path, error) != size || error || size < start.size()) return false;
  std::ifstream file(path, std::ios::binary);
  std::string found(start.size(), '\0');
  return file.read(found.data(), static_cast<std::streamsize>(found.size())) && found == start;
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
