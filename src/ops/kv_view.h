// How keys and values lie in memory: pages of kKvBlock positions, seen through views. The pages
// belong to model/kv_cache.h.
//
// One page holds, for every layer and key/value head, a key block and a value block of kKvBlock
// absolute positions:
//   key block   [D][kKvBlock]   position contiguous, so that scores of 256 positions are D
//   broadcasts value block [kKvBlock][D]   dimension contiguous scales      [kKvBlock] floats for
//   the keys, then [kKvBlock] for the values: only for KvType::kQ8
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace cadre {

inline constexpr int64_t kKvBlock = 256;
inline constexpr int64_t kMaxHeadDim = 4096;

enum class KvType {
  kF32,
  kF16,
  kBF16,
  kQ8
};  // kQ8: int8 with one float scale (amax/127) per token and head

inline int64_t KvElementBytes(KvType type) {
  return type == KvType::kF32 ? 4 : type == KvType::kQ8 ? 1 : 2;
}

struct KvShape {
  KvType type = KvType::kF32;
  int64_t num_layers = 0;
  int64_t num_kv_heads = 0;
  int64_t head_dim = 0;

  int64_t block_bytes() const { return head_dim * kKvBlock * KvElementBytes(type); }
  int64_t scale_bytes() const { return type == KvType::kQ8 ? kKvBlock * 4 : 0; }
  // Key block, value block, scales of one head of one layer; a multiple of 64.
  int64_t head_bytes() const { return 2 * (block_bytes() + scale_bytes()); }
  int64_t page_bytes() const { return num_layers * num_kv_heads * head_bytes(); }
};

// One sequence's pages. Page p holds positions [p * kKvBlock, (p + 1) * kKvBlock); null where no
// query may look any more (before the window).
struct KvSequence {
  std::span<std::byte* const> pages;

  std::byte* HeadBlock(const KvShape& shape, int64_t page, int64_t layer, int64_t head) const {
    return pages[static_cast<size_t>(page)] +
           (layer * shape.num_kv_heads + head) * shape.head_bytes();
  }
};

// The rows of one step as attention in one layer sees them.
struct KvBatch {
  KvShape shape;
  int64_t layer = 0;
  std::span<const KvSequence> sequences;
  std::span<const int32_t> sequence_of_row;  // [T] index into sequences
  std::span<const int64_t> positions;        // [T] absolute, from 0
};

}  // namespace cadre
