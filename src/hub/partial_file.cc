#include "hub/partial_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/locked_file.h"

namespace cadre {
namespace {

constexpr uint64_t kNoteEveryBytes = uint64_t{256} << 20;
constexpr size_t kHashBytes = size_t{1} << 20;

// The digest of the first `size` bytes.
std::string DigestOf(int fd, const RemoteFile& file, const std::string& path) {
  Digest digest(file.digest_kind, file.size);
  std::vector<std::byte> buffer(kHashBytes);
  for (uint64_t done = 0; done < file.size;) {
    const size_t part = std::min<uint64_t>(buffer.size(), file.size - done);
    const ssize_t got = pread(fd, buffer.data(), part, static_cast<off_t>(done));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) throw Error("{}: reading it back failed: {}", path, std::strerror(errno));
    digest.Add(std::span(buffer).first(static_cast<size_t>(got)));
    done += static_cast<uint64_t>(got);
  }
  return digest.Finish();
}

}  // namespace

PartialFile::PartialFile(std::string path, const RemoteFile& file)
    : path_(std::move(path)),
      partial_path_(path_ + ".partial"),
      note_path_(partial_path_ + ".chunks"),
      file_(file),
      arrived_((file.size + kChunkBytes - 1) / kChunkBytes, false),
      fd_(OpenLocked(partial_path_, "pulling")) {
  ReadNote();
  if (ftruncate(fd_, static_cast<off_t>(file_.size)) != 0) {
    close(fd_);
    throw Error("{}: cannot be made {} bytes long: {}", partial_path_, file_.size,
                std::strerror(errno));
  }
}

PartialFile::~PartialFile() {
  if (fd_ < 0) return;
  try {
    Note();
  } catch (const Error&) {  // the chunks since the last note come again
  }
  close(fd_);
}

std::pair<uint64_t, uint64_t> PartialFile::range(size_t chunk) const {
  const uint64_t begin = chunk * kChunkBytes;
  return {begin, std::min(begin + kChunkBytes, file_.size)};
}

uint64_t PartialFile::arrived_bytes() const {
  uint64_t bytes = 0;
  for (size_t chunk = 0; chunk < arrived_.size(); ++chunk)
    if (arrived_[chunk]) bytes += range(chunk).second - range(chunk).first;
  return bytes;
}

// A line of digest and size, a line of a 0 or 1 per chunk. Without the bytes, of no use.
void PartialFile::ReadNote() {
  struct stat info {};
  if (fstat(fd_, &info) != 0 || static_cast<uint64_t>(info.st_size) != file_.size) return;
  std::ifstream note(note_path_);
  std::string digest, chunks;
  uint64_t size = 0;
  if (!(note >> digest >> size >> chunks) || digest != file_.digest || size != file_.size ||
      chunks.size() != arrived_.size())
    return;
  for (size_t i = 0; i < chunks.size(); ++i) arrived_[i] = chunks[i] == '1';
}

void PartialFile::Note() {
  if (fdatasync(fd_) != 0)
    throw Error("{}: syncing failed: {}", partial_path_, std::strerror(errno));
  std::string text = fmt::format("{} {}\n", file_.digest, file_.size);
  for (const bool arrived : arrived_) text += arrived ? '1' : '0';
  WriteFileAtomically(note_path_, text + "\n");
  unnoted_bytes_ = 0;
}

void PartialFile::Write(uint64_t offset, std::span<const std::byte> bytes) {
  CADRE_CHECK(offset + bytes.size() <= file_.size);
  while (!bytes.empty()) {
    const ssize_t written = pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) throw Error("{}: writing failed: {}", partial_path_, std::strerror(errno));
    bytes = bytes.subspan(static_cast<size_t>(written));
    offset += static_cast<uint64_t>(written);
  }
}

void PartialFile::MarkArrived(size_t chunk) {
  arrived_[chunk] = true;
  unnoted_bytes_ += range(chunk).second - range(chunk).first;
  if (unnoted_bytes_ >= kNoteEveryBytes) Note();
}

void PartialFile::Finish() {
  CADRE_CHECK(arrived_bytes() == file_.size);
  if (fsync(fd_) != 0) throw Error("{}: syncing failed: {}", partial_path_, std::strerror(errno));
  const std::string digest = DigestOf(fd_, file_, partial_path_);
  const bool right = digest == file_.digest;
  const bool named = right && rename(partial_path_.c_str(), path_.c_str()) == 0;
  const int rename_errno = errno;
  if (right && !named)
    throw Error("{}: renaming into place failed: {}", path_, std::strerror(rename_errno));
  if (!right) unlink(partial_path_.c_str());
  unlink(note_path_.c_str());
  close(fd_);
  fd_ = -1;
  if (!right) {
    throw Error("{}: its checksum is {} but the hub says {}; what came was thrown away", path_,
                digest, file_.digest);
  }
  SyncFolder(std::filesystem::path(path_).parent_path().string());
}

bool HasContent(const std::string& path, const RemoteFile& file) {
  std::error_code error;
  if (std::filesystem::file_size(path, error) != file.size || error) return false;
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  try {
    const bool same = DigestOf(fd, file, path) == file.digest;
    close(fd);
    return same;
  } catch (const Error&) {
    close(fd);
    return false;
  }
}

}  // namespace cadre
