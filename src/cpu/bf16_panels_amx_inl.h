// Products of packed BF16 panels on AMX: panels and tiles of tokens are what the unit reads, as
// they are. Whatever the number of tokens, a row's sums are made in the same order, by the same
// unit. Include in kernels_amx.cc only.
#pragma once

#include "cpu/panel_types_inl.h"
#include "cpu/tiles_amx_inl.h"

namespace cadre::avx512 {
namespace {

constexpr int64_t kBF16GroupBytes = 1024;     // of a panel: 32 columns, one tile register
constexpr int64_t kBF16TokenGroupBytes = 64;  // of a token
constexpr int64_t kBF16PassGroups = 16;       // of two panels: they stay in the first-level cache
constexpr int64_t kBF16FewTokens = 16;

// One or two tiles of tokens: their first values, numbers of tokens, and sums of the first panel.
struct BF16Tokens {
  const std::byte* values[2];
  int64_t counts[2];
  float* sums[2];
};

// Registers 0 and 1: sums of the first tile with both panels, 2 and 3: of the second; 4 and 5:
// tokens; 6 and 7: weights.
inline void ConfigureBF16(const int64_t (&tokens)[2]) {
  TileConfig config;
  for (int i = 0; i < 8; ++i) {
    const int64_t rows = i >= 6 ? 16 : tokens[i < 4 ? i / 2 : i - 4];
    config.rows[i] = static_cast<uint8_t>(rows);
    config.row_bytes[i] = static_cast<uint16_t>(rows == 0 ? 0 : 64);
  }
  Load(config);
}

#define CADRE_TILE(INSTRUCTION, REGISTER, FROM) \
  asm volatile(INSTRUCTION " (%0,%1,1), %%tmm" REGISTER ::"r"(FROM), "r"(line) : "memory")
#define CADRE_STORE(REGISTER, TO) \
  asm volatile("tilestored %%tmm" REGISTER ", (%0,%1,1)" ::"r"(TO), "r"(line) : "memory")

// `groups` groups of 32 columns of kPanels panels, panel_bytes apart, with kTiles tiles of tokens.
template <int kPanels, int kTiles>
inline void RunBF16Block(const std::byte* panels, int64_t panel_bytes, int64_t groups,
                         const BF16Tokens& tokens, int64_t sums_stride) {
  const int64_t line = 64;
  CADRE_TILE("tileloadd", "0", tokens.sums[0]);
  if (kPanels > 1) CADRE_TILE("tileloadd", "1", tokens.sums[0] + sums_stride);
  if (kTiles > 1) CADRE_TILE("tileloadd", "2", tokens.sums[1]);
  if (kPanels > 1 && kTiles > 1) CADRE_TILE("tileloadd", "3", tokens.sums[1] + sums_stride);
  for (int64_t g = 0; g < groups; ++g) {
    const std::byte* w = panels + g * kBF16GroupBytes;
    if (kPanels == 1 && kTiles == 1)
      PrefetchRecord(reinterpret_cast<const uint8_t*>(w), kBF16GroupBytes);
    CADRE_TILE("tileloadd", "4", tokens.values[0] + g * tokens.counts[0] * kBF16TokenGroupBytes);
    CADRE_TILE("tileloadd", "6", w);
    asm volatile("tdpbf16ps %tmm6, %tmm4, %tmm0");
    if (kPanels > 1) {
      CADRE_TILE("tileloadd", "7", w + panel_bytes);
      asm volatile("tdpbf16ps %tmm7, %tmm4, %tmm1");
    }
    if (kTiles > 1) {
      CADRE_TILE("tileloadd", "5", tokens.values[1] + g * tokens.counts[1] * kBF16TokenGroupBytes);
      asm volatile("tdpbf16ps %tmm6, %tmm5, %tmm2");
      if (kPanels > 1) asm volatile("tdpbf16ps %tmm7, %tmm5, %tmm3");
    }
  }
  CADRE_STORE("0", tokens.sums[0]);
  if (kPanels > 1) CADRE_STORE("1", tokens.sums[0] + sums_stride);
  if (kTiles > 1) CADRE_STORE("2", tokens.sums[1]);
  if (kPanels > 1 && kTiles > 1) CADRE_STORE("3", tokens.sums[1] + sums_stride);
}
#undef CADRE_TILE
#undef CADRE_STORE

// All tokens with kPanels panels from `first` on, groups [begin, end).
template <int kPanels>
void RunBF16Pass(const PanelDots& d, int64_t first, int64_t begin, int64_t end,
                 int64_t (&configured)[2]) {
  const int64_t sums_stride = kPanelRows * d.tiles.tokens;
  const std::byte* panels = d.panels + first * d.panel_bytes + begin * kBF16GroupBytes;
  for (int64_t i = 0; i < d.tiles.count; i += 2) {
    BF16Tokens tokens = {};
    for (int64_t j = 0; j < 2 && i + j < d.tiles.count; ++j) {
      const int64_t token = TileBegin(d.tiles, i + j);
      tokens.counts[j] = TileBegin(d.tiles, i + j + 1) - token;
      tokens.values[j] = d.tiles.data + TileOffset(d.type, d.tiles, i + j, d.first_record) +
                         begin * tokens.counts[j] * kBF16TokenGroupBytes;
      tokens.sums[j] = d.sums + first * sums_stride + kPanelRows * token;
    }
    if (tokens.counts[0] != configured[0] || tokens.counts[1] != configured[1]) {
      for (int j = 0; j < 2; ++j) configured[j] = tokens.counts[j];
      ConfigureBF16(configured);
    }
    if (tokens.counts[1] > 0) {
      RunBF16Block<kPanels, 2>(panels, d.panel_bytes, end - begin, tokens, sums_stride);
    } else {
      RunBF16Block<kPanels, 1>(panels, d.panel_bytes, end - begin, tokens, sums_stride);
    }
  }
}

void RunBF16Panels(const PanelDots& d) {
  const int64_t groups = d.records * 2;
  const int64_t pass = d.tiles.tokens <= kBF16FewTokens ? groups : kBF16PassGroups;
  int64_t configured[2] = {-1, -1};
  for (int64_t begin = 0; begin < groups; begin += pass) {
    const int64_t end = begin + pass < groups ? begin + pass : groups;
    int64_t p = 0;
    for (; p + 2 <= d.num_panels; p += 2) RunBF16Pass<2>(d, p, begin, end, configured);
    if (p < d.num_panels) RunBF16Pass<1>(d, p, begin, end, configured);
  }
}

}  // namespace
}  // namespace cadre::avx512
