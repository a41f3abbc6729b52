#include "bench/cold_memory.h"

#include <cstring>

#include "base/error.h"

namespace cadre::bench {

void ColdMemory::CutInto(int64_t bytes) {
  stride_ = (bytes + 63) / 64 * 64;
  count_ = static_cast<int64_t>(memory_.size()) / stride_;
  next_ = 0;
  CADRE_CHECK(bytes > 0 && count_ > 0);
}

void ColdMemory::Fill(std::span<const std::byte> pattern) {
  CutInto(static_cast<int64_t>(pattern.size()));
  for (int64_t i = 0; i < count_; ++i)
    std::memcpy(memory_.data() + i * stride_, pattern.data(), pattern.size());
}

void ColdMemory::FillZeros(int64_t bytes) {
  CutInto(bytes);
  std::memset(memory_.data(), 0, memory_.size());
}

std::byte* ColdMemory::Next() {
  std::byte* copy = memory_.data() + next_ * stride_;
  next_ = (next_ + 1) % count_;
  return copy;
}

}  // namespace cadre::bench
