// A large piece of memory of its own, in huge pages where the system has them: streams of reads
// miss fewer translations there.
#pragma once

#include <cstddef>

namespace cadre {

class HugeMemory {
 public:
  HugeMemory() = default;
  // Zeros. Takes real memory only as it is touched. Throws std::bad_alloc.
  explicit HugeMemory(size_t bytes);
  ~HugeMemory();
  HugeMemory(HugeMemory&& other) noexcept;
  HugeMemory& operator=(HugeMemory&& other) noexcept;

  std::byte* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  std::byte* data_ = nullptr;
  size_t size_ = 0;
};

// What could still be touched without pushing others to the disk, as the system guesses; 0:
// unknown.
size_t AvailableMemory();

// Memory that this process has now, and the most it has had, as its limits count it.
size_t ResidentMemory();
size_t PeakResidentMemory();

}  // namespace cadre
