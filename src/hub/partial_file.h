// A file that arrives in chunks, in any order, over several runs. Until it is whole and its
// checksum is right it is called PATH.partial; PATH.partial.chunks says which chunks are surely on
// disk.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "hub/repository.h"

namespace cadre {

class PartialFile {
 public:
  static constexpr uint64_t kChunkBytes = uint64_t{16} << 20;

  // Goes on with what an earlier run left of the same content, else starts anew. Throws Error when
  // the file cannot be written or another process is writing it.
  PartialFile(std::string path, const RemoteFile& file);
  // Notes what has arrived.
  ~PartialFile();
  PartialFile(const PartialFile&) = delete;
  PartialFile& operator=(const PartialFile&) = delete;

  size_t num_chunks() const { return arrived_.size(); }
  bool arrived(size_t chunk) const { return arrived_[chunk]; }
  std::pair<uint64_t, uint64_t> range(size_t chunk) const;  // of bytes, half open
  uint64_t arrived_bytes() const;

  // Any thread; ranges must not overlap. Throws Error when the disk is full or fails.
  void Write(uint64_t offset, std::span<const std::byte> bytes);
  // One thread at a time. Notes are made now and then, not for each chunk.
  void MarkArrived(size_t chunk);

  // Checks the checksum of the whole and gives the file its name. Throws Error when it is wrong;
  // then nothing is left of it.
  void Finish();

 private:
  void Note();
  void ReadNote();
  std::string path_;
  std::string partial_path_;
  std::string note_path_;
  RemoteFile file_;
  std::vector<bool> arrived_;
  uint64_t unnoted_bytes_ = 0;
  int fd_ = -1;
};

// Whether `path` is there and is this content.
bool HasContent(const std::string& path, const RemoteFile& file);

}  // namespace cadre
