// A file that appears whole or not at all: written under another name in the same folder, synced,
// renamed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace cadre {

// What becomes of a file that Commit was not reached for.
enum class Unfinished {
  kRemove,  // it is called PATH.tmp-PID, and is removed
  kKeep,    // it is called PATH.partial, and the next AtomicFile of this path may go on with it
};

class AtomicFile {
 public:
  // Throws Error when it cannot be created; with kKeep also when another process is writing it.
  explicit AtomicFile(std::string path, Unfinished unfinished = Unfinished::kRemove);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  // What an earlier attempt left that is certainly on disk, power cuts included (kKeep).
  uint64_t kept_bytes() const { return kept_bytes_; }
  // Whether the kept bytes begin with these.
  bool KeptBeginWith(std::string_view bytes) const;
  // Writes on after the first `size` <= kept_bytes() of them. Without this call, before the first
  // Write, they are lost.
  void ContinueAt(uint64_t size);

  void Write(std::span<const std::byte> bytes);
  void Write(std::string_view text) { Write(std::as_bytes(std::span(text))); }
  uint64_t size() const { return written_bytes_ + buffer_.size(); }

  // Flushes, syncs file and folder, renames. Throws Error (and leaves what was there) when any of
  // that fails.
  void Commit();

 private:
  void Flush();
  void Sync();
  std::string path_;
  std::string unfinished_path_;
  std::string synced_path_;  // holds how many bytes are surely on disk (kKeep)
  std::string buffer_;
  uint64_t kept_bytes_ = 0;
  uint64_t written_bytes_ = 0;  // handed to the kernel; the rest is in buffer_
  uint64_t unsynced_bytes_ = 0;
  int fd_ = -1;
  bool keep_ = false;
  bool started_ = false;
};

// Whether `path` is a file of `size` bytes that begins with `start`.
bool FileIs(const std::string& path, std::string_view start, uint64_t size);

// Writes `text` to `path` as one AtomicFile.
void WriteFileAtomically(const std::string& path, std::string_view text);

// Syncs a folder, so that renames in it survive a power cut.
void SyncFolder(const std::string& path);

}  // namespace cadre
