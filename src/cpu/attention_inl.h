// Attention of one row's heads over the pages of its sequence. Absolute blocks of kKvBlock
// positions are reduced each in the same way and merged in ascending order, so a row cannot tell
// whether it was decoded alone or came with a prompt. Positions that are masked take part in
// nothing: what lies there may be garbage.
#pragma once

#include "cpu/kv_types_inl.h"

namespace cadre::CADRE_ISA {
namespace {

inline float ExpOne(float x) {
  float result;
  StoreF32N(&result, Exp(Broadcast(x)), 1);
  return result;
}

// The part [begin, end) of one block that a row may see.
struct Span {
  const std::byte* block;  // the key block
  int64_t begin, end;      // 0 <= begin, end <= kKvBlock; empty where end <= begin
};

inline Span SpanOf(const AttentionRows& a, const AttentionRow& row, int64_t page) {
  const int64_t base = page * kKvBlock;
  return {a.pages[page] + a.head_offset, AtLeast(row.begin - base, 0),
          AtMost(row.end - base, kKvBlock)};
}

inline void Prefetch(const std::byte* p, int64_t bytes) {
  for (int64_t i = 0; i < bytes; i += 64) __builtin_prefetch(p + i);
}

// Scores of G heads at N vectors of positions from `first` on: scores[g][position] = q[g] .
// k[position], unscaled. The next positions are fetched meanwhile: the lines of a block are far
// apart.
template <typename Kv, int G, int N>
inline void ScoreTile(const AttentionRows& a, const float* q, const std::byte* keys, int64_t first,
                      float* scores) {
  VecF sums[G][N];
  for (int g = 0; g < G; ++g) {
    for (int i = 0; i < N; ++i) sums[g][i] = Zero();
  }
  for (int64_t d = 0; d < a.head_dim; ++d) {
    const std::byte* at = keys + (d * kKvBlock + first) * Kv::kBytes;
    if (N > 1) Prefetch(at + N * kLanes * Kv::kBytes, N * kLanes * Kv::kBytes);
    VecF k[N];
    for (int i = 0; i < N; ++i) k[i] = Kv::Load(at + i * kLanes * Kv::kBytes);
    for (int g = 0; g < G; ++g) {
      const VecF one = Broadcast(q[g * a.head_dim + d]);
      for (int i = 0; i < N; ++i) sums[g][i] = MulAdd(one, k[i], sums[g][i]);
    }
  }
  for (int g = 0; g < G; ++g) {
    for (int i = 0; i < N; ++i) StoreF32(scores + g * kKvBlock + first + i * kLanes, sums[g][i]);
  }
}

template <typename Kv, int G>
inline void ScoreBlock(const AttentionRows& a, const float* q, const Span& span, float* scores) {
  int64_t first = span.begin / kLanes * kLanes;
  for (; first + kHeadVecs * kLanes <= kKvBlock && first + (kHeadVecs - 1) * kLanes < span.end;
       first += kHeadVecs * kLanes) {
    ScoreTile<Kv, G, kHeadVecs>(a, q, span.block, first, scores);
  }
  for (; first < span.end; first += kLanes) ScoreTile<Kv, G, 1>(a, q, span.block, first, scores);
}

struct BlockSoftmax {
  float max;
  float sum;
};

// Replaces one head's scores by e^(score / sqrt(D) - max) (times the value's scale) and sums those
// (without the scale).
template <typename Kv>
inline BlockSoftmax Softmax(const AttentionRows& a, const Span& span, float inv_sqrt_dim,
                            float* scores) {
  const auto* key_scales = reinterpret_cast<const float*>(span.block + 2 * a.block_bytes);
  const float* value_scales = key_scales + kKvBlock;
  const int64_t first = span.begin / kLanes * kLanes;
  VecF most = Broadcast(-__builtin_inff());
  for (int64_t i = first; i < span.end; i += kLanes) {
    VecF s = Mul(LoadF32(scores + i), Broadcast(inv_sqrt_dim));
    if constexpr (Kv::kScaled) s = Mul(s, LoadF32(key_scales + i));
    s = KeepLanes(s, span.begin - i, span.end - i, -__builtin_inff());
    StoreF32(scores + i, s);
    most = Max(s, most);
  }
  const float max = MaxLanes(most);
  VecF sum = Zero();
  for (int64_t i = first; i < span.end; i += kLanes) {
    VecF p = Exp(Sub(LoadF32(scores + i), Broadcast(max)));
    sum = Add(sum, p);
    if constexpr (Kv::kScaled) p = Mul(p, LoadF32(value_scales + i));
    StoreF32(scores + i, p);
  }
  return {max, SumLanes(sum)};
}

constexpr int64_t kPositionsAhead = 16;

// sums[g][d] = sum over the span of weights[g][position] * v[position][d], for N vectors of d from
// `first` on; the last vector has n lanes.
template <typename Kv, int G, int N>
inline void ValueTile(const AttentionRows& a, const Span& span, const float* weights, int64_t first,
                      int64_t n, float* sums) {
  const std::byte* values = span.block + a.block_bytes + first * Kv::kBytes;
  VecF acc[G][N];
  for (int g = 0; g < G; ++g) {
    for (int i = 0; i < N; ++i) acc[g][i] = Zero();
  }
  for (int64_t p = span.begin; p < span.end; ++p) {
    const std::byte* row = values + p * a.head_dim * Kv::kBytes;
    if (first == 0)
      Prefetch(row + kPositionsAhead * a.head_dim * Kv::kBytes, a.head_dim * Kv::kBytes);
    VecF v[N];
    for (int i = 0; i < N; ++i) {
      v[i] = n == kLanes ? Kv::Load(row + i * kLanes * Kv::kBytes)
                         : Kv::LoadN(row + i * kLanes * Kv::kBytes, n);
    }
    for (int g = 0; g < G; ++g) {
      const VecF weight = Broadcast(weights[g * kKvBlock + p]);
      for (int i = 0; i < N; ++i) acc[g][i] = MulAdd(weight, v[i], acc[g][i]);
    }
  }
  for (int g = 0; g < G; ++g) {
    for (int i = 0; i < N; ++i) StoreF32N(sums + g * a.head_dim + first + i * kLanes, acc[g][i], n);
  }
}

template <typename Kv, int G>
inline void ValueBlock(const AttentionRows& a, const Span& span, const float* weights,
                       float* sums) {
  int64_t d = 0;
  for (; d + kHeadVecs * kLanes <= a.head_dim; d += kHeadVecs * kLanes) {
    ValueTile<Kv, G, kHeadVecs>(a, span, weights, d, kLanes, sums);
  }
  for (; d < a.head_dim; d += kLanes)
    ValueTile<Kv, G, 1>(a, span, weights, d, AtMost(kLanes, a.head_dim - d), sums);
}

// out = out * keep + block * take, elementwise.
inline void Blend(float* out, float keep, const float* block, float take, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = out[i] * keep + block[i] * take;
}

// One head's sums and another block's after them.
inline void MergeHead(int64_t head_dim, const AttentionSums& into, int64_t head,
                      const BlockSoftmax& block, const float* sums) {
  const float new_max = into.max[head] > block.max ? into.max[head] : block.max;
  const float keep = ExpOne(into.max[head] - new_max);
  const float take = ExpOne(block.max - new_max);
  Blend(into.out + head * head_dim, keep, sums, take, head_dim);
  into.sum[head] = into.sum[head] * keep + block.sum * take;
  into.max[head] = new_max;
}

inline void StartSums(const AttentionRows& a, const AttentionSums& sums) {
  for (int64_t h = 0; h < a.heads; ++h) {
    sums.max[h] = -__builtin_inff();
    sums.sum[h] = 0;
  }
  for (int64_t i = 0; i < a.heads * a.head_dim; ++i) sums.out[i] = 0;
}

inline float InvSqrtDim(const AttentionRows& a) {
  return 1 / __builtin_sqrtf(static_cast<float>(a.head_dim));
}

// A row alone: G heads from `head` on.
template <typename Kv, int G>
inline void AttendHeads(const AttentionRows& a, const AttentionRow& row, int64_t head) {
  const float* q = row.q + head * a.head_dim;
  float* scores = a.scratch;
  float* sums = a.scratch + G * kKvBlock;
  for (int64_t page = row.begin / kKvBlock; page * kKvBlock < row.end; ++page) {
    const Span span = SpanOf(a, row, page);
    ScoreBlock<Kv, G>(a, q, span, scores);
    BlockSoftmax block[G];
    for (int g = 0; g < G; ++g)
      block[g] = Softmax<Kv>(a, span, InvSqrtDim(a), scores + g * kKvBlock);
    ValueBlock<Kv, G>(a, span, scores, sums);
    for (int g = 0; g < G; ++g)
      MergeHead(a.head_dim, row.sums, head + g, block[g], sums + g * a.head_dim);
  }
}

template <typename Kv>
inline void AttendOneRow(const AttentionRows& a, const AttentionRow& row) {
  int64_t head = 0;
  for (; head + kMaxSharedHeads <= a.heads; head += kMaxSharedHeads)
    AttendHeads<Kv, kMaxSharedHeads>(a, row, head);
  for (; head + 2 <= a.heads; head += 2) AttendHeads<Kv, 2>(a, row, head);
  if (head < a.heads) AttendHeads<Kv, 1>(a, row, head);
}

}  // namespace
}  // namespace cadre::CADRE_ISA
