// A file that appears whole or not at all: written under a temporary name in the same folder,
// synced, renamed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace cadre {

class AtomicFile {
 public:
  // Creates `path`.tmp-PID. Throws Error when it cannot.
  explicit AtomicFile(std::string path);
  // Removes the temporary file if Commit was not reached.
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void Write(std::span<const std::byte> bytes);
  void Write(std::string_view text) { Write(std::as_bytes(std::span(text))); }
  uint64_t size() const { return size_; }

  // Flushes, syncs file and folder, renames. Throws Error (and leaves what was there) when any of
  // that fails.
  void Commit();

 private:
  void Flush();
  std::string path_;
  std::string temporary_path_;
  std::string buffer_;
  uint64_t size_ = 0;
  int fd_ = -1;
};

// Writes `text` to `path` as one AtomicFile.
void WriteFileAtomically(const std::string& path, std::string_view text);

// Syncs a folder, so that renames in it survive a power cut.
void SyncFolder(const std::string& path);

}  // namespace cadre
