// A file that appears whole or not at all: written under another name in the same folder, synced,
// renamed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace cadre {

// Without Commit nothing is left. With a `work` (what is being written and from what, as text) the
// unfinished file stays as PATH.partial, and the next AtomicFile of this path and work may go on
// with it.
class AtomicFile {
 public:
  // Throws Error when it cannot be created; with a work also when another process is writing it.
  explicit AtomicFile(std::string path, std::string work = {});
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  // What an earlier attempt at the same work left that is on disk, power cuts included.
  uint64_t kept_bytes() const { return kept_bytes_; }
  // Whether the kept bytes begin with these.
  bool KeptBeginWith(std::string_view bytes) const;
  // Writes on after the first `size` <= kept_bytes() of them. Without this call, before the first
  // Write, they are lost.
  void ContinueAt(uint64_t size);

  void Write(std::span<const std::byte> bytes);
  void Write(std::string_view text) { Write(std::as_bytes(std::span(text))); }
  uint64_t size() const { return written_bytes_ + buffer_.size(); }

  // Flushes, syncs and frees the buffer: all is written, only Commit is to come.
  void Seal();
  // Seals, renames, syncs the folder. Throws Error (and leaves what was there) when any of that
  // fails.
  void Commit();

 private:
  void Open();
  uint64_t SyncedBytes() const;
  void Flush();
  void Sync();
  [[noreturn]] void Fail(const char* what);
  std::string path_;
  std::string work_;
  std::string unfinished_path_;
  std::string synced_path_;  // holds how many bytes are on disk, and the work
  std::string buffer_;
  uint64_t kept_bytes_ = 0;
  uint64_t written_bytes_ = 0;  // handed to the kernel; the rest is in buffer_
  uint64_t unsynced_bytes_ = 0;
  int fd_ = -1;
  bool started_ = false;
  bool failed_ = false;  // the file may lack what the kernel was given: nothing more is noted
};

// Writes `text` to `path` as one AtomicFile.
void WriteFileAtomically(const std::string& path, std::string_view text);

// Syncs a folder, so that renames in it survive a power cut.
void SyncFolder(const std::string& path);

}  // namespace cadre
