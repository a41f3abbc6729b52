// The packed form of quantised weights and 16-bit floats: panels of sixteen rows, interleaved so
// that a vector of sixteen sums, one per row, is fed by plain loads, with the scales at the width
// they have in the file. A panel is a list of records of some columns each; a record holds scales
// first, then the levels, four columns of sixteen rows in each 64 bytes. A record of floats is
// those alone: BF16 as pairs of columns, F16 column by column. Activations meet them as tiles of a
// few tokens.
//
// Sums go over the columns in order, each token's on its own: the size of a tile cannot show in the
// bits, nor can it whether a panel was packed before or just now.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/dtype.h"

namespace cadre {

constexpr int64_t kPanelRows = 16;
constexpr int64_t kMaxTileTokens = 16;

// Geometry of a type's records.
struct PanelRecord {
  int64_t cols;   // of a multiple of 32; rows are filled up with zeros
  int64_t bytes;  // of sixteen rows, a multiple of 64
};

// cols is 0 for a type that has no packed form.
static constexpr PanelRecord PanelRecordOf(DType type) {
  switch (type) {
    case DType::kQ4_0:
    case DType::kIQ4_NL:
      return {64, 64 + 512};
    case DType::kQ4_1:
      return {64, 128 + 512};
    case DType::kQ5_0:
      return {64, 64 + 512 + 128};
    case DType::kQ5_1:
      return {64, 128 + 512 + 128};
    case DType::kQ8_0:
      return {64, 64 + 1024};
    case DType::kQ2_K:
      return {256, 64 + 256 + 1024};
    case DType::kQ3_K:
      return {256, 64 + 192 + 512 + 1024};
    case DType::kQ4_K:
      return {256, 64 + 192 + 2048};
    case DType::kQ5_K:
      return {256, 64 + 192 + 512 + 2048};
    case DType::kQ6_K:
      return {256, 64 + 256 + 2048 + 1024};
    case DType::kIQ4_XS:
      return {256, 64 + 128 + 2048};
    case DType::kF16:
    case DType::kBF16:
      return {64, 2048};
    default:
      return {0, 0};
  }
}

static constexpr int64_t PanelRecords(DType type, int64_t cols) {
  const int64_t record_cols = PanelRecordOf(type).cols;
  return (cols + record_cols - 1) / record_cols;
}
static constexpr int64_t PanelBytes(DType type, int64_t cols) {
  return PanelRecords(type, cols) * PanelRecordOf(type).bytes;
}

// Columns that share an activation scale: as long as the type's blocks.
static constexpr int64_t TileGroupCols(DType type) {
  return PanelRecordOf(type).cols == 256 ? 256 : 32;
}

// A tile of T tokens is a list of groups of columns: signed bytes [T][cols], then
//   groups of 32: their scales [T], and [T] for what all levels of a type are off by: the sum of
//   the values times the scale for types with minima, else times -kOffset, as int32
//   groups of 256: [T] of 128 bytes. The scale; at kWideStartAt, as int32, what folded levels are
//   off by, -kFoldOffset times the sum of all values; at kWideSumsAt the sums of the values as
//   int16, of sixteen columns each or of 32, as the type has its scales; at kWideStartsAt these
//   times -kOffset as int32 (Q3_K: times StartTimes as well); types with minima and sixteen parts
//   have at kWideSplitSumsAt the sums' lower seven bits as bytes, and then what is above these
static constexpr int64_t kWideExtraBytes = 128;
static constexpr int64_t kWideStartAt = 4;
static constexpr int64_t kWideSumsAt = 32;
static constexpr int64_t kWideStartsAt = 64;
static constexpr int64_t kWideSplitSumsAt = 64;
static constexpr int64_t TileGroupBytes(int64_t group_cols, int64_t tokens) {
  return tokens * (group_cols == 256 ? 256 + kWideExtraBytes : 32 + 8);
}
// For 16-bit floats a group is 32 values of each token: BF16 as such, F16 as float.
static constexpr int64_t TileGroupBytes(DType type, int64_t tokens) {
  if (type == DType::kBF16) return tokens * 64;
  if (type == DType::kF16) return tokens * 128;
  return TileGroupBytes(TileGroupCols(type), tokens);
}
static constexpr int64_t TileBytes(DType type, int64_t tokens, int64_t cols) {
  const int64_t group_cols = TileGroupCols(type);
  return PanelRecords(type, cols) * (PanelRecordOf(type).cols / group_cols) *
         TileGroupBytes(type, tokens);
}

// Tokens cut into `count` tiles as equal as can be, one tile after another.
struct Tiles {
  const std::byte* data;
  int64_t tokens, count;
  int64_t token_bytes;  // of one token's whole row
};
static constexpr int64_t TileBegin(const Tiles& tiles, int64_t i) {
  return tiles.tokens * i / tiles.count;
}
// Where tile i lies from a record on.
static constexpr int64_t TileOffset(DType type, const Tiles& tiles, int64_t i, int64_t record) {
  const int64_t group_cols = TileGroupCols(type);
  const int64_t groups = record * (PanelRecordOf(type).cols / group_cols);
  return TileBegin(tiles, i) * tiles.token_bytes +
         groups * TileGroupBytes(type, TileBegin(tiles, i + 1) - TileBegin(tiles, i));
}

// sums[(p * tokens + t) * 16 + r] += the products of `records` records of row r of panel p with
// token t's.
struct PanelDots {
  DType type;
  const std::byte* panels;  // at first_record; panel_bytes apart
  int64_t num_panels, panel_bytes;
  int64_t first_record, records;
  Tiles tiles;
  float* sums;
};

// `rows` <= kPanelRows rows, row_bytes apart, of `cols` columns.
struct PanelSource {
  DType type;
  const std::byte* rows_begin;
  int64_t row_bytes;
  int64_t rows;
  int64_t cols;
};

// `tokens` <= kMaxTileTokens rows of floats, x_stride apart.
struct TileSource {
  DType type;  // of the weights that the tile is to meet
  const float* x;
  int64_t x_stride;
  int64_t tokens;
  int64_t cols;
};

struct PanelKernels {
  int64_t tile_tokens;  // the most that dots takes in a tile, <= kMaxTileTokens
  bool halves;          // whether F16 and BF16 have panels too
  void (*pack)(const PanelSource& source, std::byte* panel);
  void (*round)(const TileSource& source, std::byte* tile);
  void (*dots)(const PanelDots& dots);
};

}  // namespace cadre
