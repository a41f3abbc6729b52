// Reads from files, several under way at a time. The kernel's io_uring does them, or threads where
// that is forbidden. What is read, and what a short or failed read means, is the caller's matter.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

namespace cadre {

struct DiskRead {
  int fd = -1;
  uint64_t offset = 0;
  std::byte* to = nullptr;
  size_t bytes = 0;
  uint64_t tag = 0;  // comes back with the result
};

struct DiskResult {
  uint64_t tag = 0;
  int64_t bytes = 0;  // read, perhaps fewer than asked; 0: the file ends there; below 0: -errno
};

// One caller at a time.
class DiskIo {
 public:
  virtual ~DiskIo() = default;  // what is under way is waited for
  virtual const char* name() const = 0;
  // Begins a read. No more than the depth it was made for may be under way.
  virtual void Submit(const DiskRead& read) = 0;
  // Waits until at least one read has ended; returns how many of `results` it wrote. Only while one
  // is under way.
  virtual size_t Wait(std::span<DiskResult> results) = 0;
};

using DiskIoMaker = std::function<std::unique_ptr<DiskIo>(int depth)>;

// Null where the kernel or its administrator does not allow io_uring.
std::unique_ptr<DiskIo> TryUringIo(int depth);
// Threads that wait for one read each.
std::unique_ptr<DiskIo> MakeThreadIo(int depth);
// The first that there is.
std::unique_ptr<DiskIo> MakeDiskIo(int depth, const DiskIoMaker& try_uring = TryUringIo);

}  // namespace cadre
