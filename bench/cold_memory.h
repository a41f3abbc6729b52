// Memory larger than the caches, walked through piece by piece: what comes next has not been
// touched for so long that no cache holds it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/huge_memory.h"

namespace cadre::bench {

class ColdMemory {
 public:
  // Takes real memory when it is first filled.
  explicit ColdMemory(int64_t bytes) : memory_(static_cast<size_t>(bytes)) {}

  // Copies of `pattern`, each at a multiple of 64, as many as there is room for: at least one.
  void Fill(std::span<const std::byte> pattern);
  // Room for copies of so many bytes, all touched.
  void FillZeros(int64_t bytes);
  // The next copy; after the last comes the first.
  std::byte* Next();

 private:
  void CutInto(int64_t bytes);

  HugeMemory memory_;
  int64_t stride_ = 0, count_ = 0, next_ = 0;
};

}  // namespace cadre::bench
