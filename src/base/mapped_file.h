// A file mapped read-only. Nothing is read before it is touched, so a 90 GB checkpoint opens at
// once.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace cadre {

class MappedFile {
 public:
  MappedFile() = default;
  // Throws Error when `path` is not a readable regular file. An empty file maps to no bytes.
  explicit MappedFile(const std::string& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return bytes_; }
  std::string_view text() const {
    return {reinterpret_cast<const char*>(bytes_.data()), bytes_.size()};
  }
  const std::string& path() const { return path_; }

 private:
  std::span<const std::byte> bytes_;
  std::string path_;
};

// Tells the kernel that the pages wholly within `bytes`, which must lie in a MappedFile, are not
// needed for now: they no longer count as this process's memory, and come back when touched.
void ReleasePages(std::span<const std::byte> bytes);

}  // namespace cadre
