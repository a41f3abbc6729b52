// The element types of the cache in the vectors of the instruction set. Include after a
// simd_*_inl.h.
#pragma once

#include "cpu/kernels.h"

namespace cadre::CADRE_ISA {
namespace {

// How a cache type is read and written. kBytes of an element; scaled types keep a float per
// position.
struct KvF32 {
  static constexpr int64_t kBytes = 4;
  static constexpr bool kScaled = false;
  static inline VecF Load(const std::byte* p) { return LoadF32(p); }
  static inline VecF LoadN(const std::byte* p, int64_t n) { return LoadF32N(p, n); }
  static inline void StoreN(std::byte* p, VecF x, float, int64_t n) {
    StoreF32N(reinterpret_cast<float*>(p), x, n);
  }
};
struct KvF16 {
  static constexpr int64_t kBytes = 2;
  static constexpr bool kScaled = false;
  static inline VecF Load(const std::byte* p) { return LoadF16(p); }
  static inline VecF LoadN(const std::byte* p, int64_t n) { return LoadF16N(p, n); }
  static inline void StoreN(std::byte* p, VecF x, float, int64_t n) { StoreAsF16N(p, x, n); }
};
struct KvBF16 {
  static constexpr int64_t kBytes = 2;
  static constexpr bool kScaled = false;
  static inline VecF Load(const std::byte* p) { return LoadBF16(p); }
  static inline VecF LoadN(const std::byte* p, int64_t n) { return LoadBF16N(p, n); }
  static inline void StoreN(std::byte* p, VecF x, float, int64_t n) { StoreAsBF16N(p, x, n); }
};
struct KvQ8 {
  static constexpr int64_t kBytes = 1;
  static constexpr bool kScaled = true;
  static inline VecF Load(const std::byte* p) { return LoadI8(p); }
  static inline VecF LoadN(const std::byte* p, int64_t n) { return LoadI8N(p, n); }
  static inline void StoreN(std::byte* p, VecF x, float factor, int64_t n) {
    StoreAsI8N(reinterpret_cast<int8_t*>(p), x, factor, n);
  }
};

inline int64_t AtLeast(int64_t a, int64_t b) { return a > b ? a : b; }
inline int64_t AtMost(int64_t a, int64_t b) { return a < b ? a : b; }

}  // namespace
}  // namespace cadre::CADRE_ISA
