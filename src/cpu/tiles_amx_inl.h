// The tile registers of AMX. Include in kernels_amx.cc only.
#pragma once

#include <cstdint>

#include "cpu/panels.h"

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

// Registers 0 to 3: products; 4 and 5: tokens; 6 and 7: levels, `cols` columns at a time.
inline void ConfigureTiles(int64_t tokens, int64_t cols) {
  TileConfig config;
  for (int i = 0; i < 8; ++i) {
    config.rows[i] = static_cast<uint8_t>(i < 6 ? tokens : cols / 4);
    config.row_bytes[i] = static_cast<uint16_t>(i / 2 == 2 ? cols : 64);
  }
  Load(config);
}

// Shaping the registers costs as much as several products, so that they are shaped once, for the
// largest tile. A tile has at most one token less: then a row of what lies behind its values (what
// belongs to them) is multiplied too, and the product not looked at.
inline int64_t MostTileTokens(const Tiles& tiles) {
  return (tiles.tokens + tiles.count - 1) / tiles.count;
}

}  // namespace
}  // namespace cadre::avx512
