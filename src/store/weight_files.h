// The files of a checkpoint, opened for reading past the page cache: what is read there is not kept
// twice. Knows where a mapped tensor lies, and whether a file is still what it was.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "formats/checkpoint.h"

namespace cadre {

// Not thread-safe but for what is const.
class WeightFiles {
 public:
  struct Place {
    int file = 0;
    uint64_t offset = 0;  // of the first byte
  };
  // Offsets, lengths and addresses of direct reads are multiples of this.
  static constexpr uint64_t kDirectAlignment = 4096;

  // Throws Error when a file cannot be opened or is no longer what the checkpoint mapped. The
  // checkpoint must outlive it.
  explicit WeightFiles(const Checkpoint& checkpoint);
  ~WeightFiles();
  WeightFiles(const WeightFiles&) = delete;
  WeightFiles& operator=(const WeightFiles&) = delete;

  // Of bytes that lie in the checkpoint's mapped files; none: they do not.
  std::optional<Place> Find(const std::byte* data) const;

  int fd(int file) const { return At(file).fd; }
  bool is_direct(int file) const { return At(file).is_direct; }
  const std::string& name(int file) const { return At(file).name; }
  // Reads this file through the page cache from now on: its file system refuses direct reads.
  void UseBuffered(int file);
  // What has happened to the file since it was opened, as the end of a sentence; none: nothing.
  std::optional<std::string> Change(int file) const;

  // The mapped pages count as this process's memory no more, until they are touched again.
  void ReleaseMaps() const;

 private:
  struct File {
    std::string name;
    std::span<const std::byte> mapped;
    int fd = -1;
    bool is_direct = false;
    int64_t changed_ns = 0;  // its last modification
  };
  const File& At(int file) const { return files_[static_cast<size_t>(file)]; }
  void Open(File& file);
  std::vector<File> files_;
};

}  // namespace cadre
