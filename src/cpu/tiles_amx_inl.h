// The tile registers of AMX. Include in kernels_amx.cc only.
#pragma once

#include <cstdint>

namespace cadre::avx512 {
namespace {

// How tiles are shaped.
struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};
inline void Load(const TileConfig& config) { asm volatile("ldtilecfg %0" ::"m"(config)); }
inline void Release() { asm volatile("tilerelease"); }

}  // namespace
}  // namespace cadre::avx512
