#include "base/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "base/locked_file.h"

namespace cadre {
namespace {

constexpr uint64_t kSyncEveryBytes = uint64_t{256} << 20;
constexpr size_t kBufferBytes = size_t{1} << 20;

}  // namespace

AtomicFile::AtomicFile(std::string path, std::string work)
    : path_(std::move(path)),
      work_(std::move(work)),
      unfinished_path_(work_.empty() ? fmt::format("{}.tmp-{}", path_, getpid())
                                     : path_ + ".partial"),
      synced_path_(unfinished_path_ + ".synced") {
  Open();
  buffer_.reserve(kBufferBytes);
  if (work_.empty()) return;
  struct stat info {};
  if (fstat(fd_, &info) == 0)
    kept_bytes_ = std::min(static_cast<uint64_t>(info.st_size), SyncedBytes());
}

void AtomicFile::Open() {
  if (!work_.empty()) {
    fd_ = OpenLocked(unfinished_path_, "writing");
    return;
  }
  unlink(unfinished_path_.c_str());  // of a process of this number that was killed
  const int flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  fd_ = open(unfinished_path_.c_str(), flags, 0644);
  if (fd_ < 0) throw Error("{}: cannot be written: {}", path_, std::strerror(errno));
}

// 0 where nothing is noted, or of other work.
uint64_t AtomicFile::SyncedBytes() const {
  std::ifstream file(synced_path_, std::ios::binary);
  uint64_t bytes = 0;
  if (!(file >> bytes) || file.get() != '\n') return 0;
  const std::string work{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  return work == work_ ? bytes : 0;
}

AtomicFile::~AtomicFile() {
  if (fd_ < 0) return;
  const bool nothing_kept = !started_ && kept_bytes_ == 0;
  if (work_.empty() || nothing_kept) {
    unlink(unfinished_path_.c_str());
    if (!work_.empty()) unlink(synced_path_.c_str());
  } else if (started_ && !failed_) {
    try {
      Flush();
      Sync();
    } catch (const Error&) {  // what is kept is then what was synced before
    }
  }
  close(fd_);
}

void AtomicFile::Fail(const char* what) {
  failed_ = true;
  throw Error("{}: {} failed: {}", path_, what, std::strerror(errno));
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
  if (!work_.empty()) std::remove(synced_path_.c_str());
  if (ftruncate(fd_, static_cast<off_t>(size)) != 0) Fail("cutting");
  if (!work_.empty() && size > 0) Sync();
}

void AtomicFile::Write(std::span<const std::byte> bytes) {
  if (!started_) ContinueAt(0);
  while (!bytes.empty()) {
    if (buffer_.size() == kBufferBytes) Flush();
    const size_t part = std::min(bytes.size(), kBufferBytes - buffer_.size());
    buffer_.append(reinterpret_cast<const char*>(bytes.data()), part);
    bytes = bytes.subspan(part);
  }
}

void AtomicFile::Flush() {
  size_t done = 0;
  while (done < buffer_.size()) {
    const ssize_t written = pwrite(fd_, buffer_.data() + done, buffer_.size() - done,
                                   static_cast<off_t>(written_bytes_ + done));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) Fail("writing");
    done += static_cast<size_t>(written);
  }
  written_bytes_ += buffer_.size();
  unsynced_bytes_ += buffer_.size();
  buffer_.clear();
  if (!work_.empty() && unsynced_bytes_ >= kSyncEveryBytes) Sync();
}

// What the kernel has goes to disk; then that is noted.
void AtomicFile::Sync() {
  if (fdatasync(fd_) != 0) Fail("syncing");
  unsynced_bytes_ = 0;
  if (!work_.empty())
    WriteFileAtomically(synced_path_, fmt::format("{}\n{}", written_bytes_, work_));
}

void AtomicFile::Seal() {
  if (!started_) ContinueAt(0);
  Flush();
  Sync();
  std::string().swap(buffer_);
}

void AtomicFile::Commit() {
  Seal();
  if (rename(unfinished_path_.c_str(), path_.c_str()) != 0)
    throw Error("{}: renaming into place failed: {}", path_, std::strerror(errno));
  close(fd_);
  fd_ = -1;
  if (!work_.empty()) std::remove(synced_path_.c_str());
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
