// Attention of one row's heads over the pages of its sequence, and the writing of those pages.
// Absolute blocks of kKvBlock positions are reduced each in the same way and merged in ascending
// order, so a row cannot tell whether it was decoded alone or came with a prompt. Positions that
// are masked take part in nothing: what lies there may be garbage.
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

inline float ExpOne(float x) {
  float result;
  StoreF32N(&result, Exp(Broadcast(x)), 1);
  return result;
}

// The part [begin, end) of one block that a row may see.
struct Span {
  const std::byte* block;  // the key block
  int64_t begin, end;      // 0 <= begin < end <= kKvBlock
};

// Scores of G heads at N vectors of positions from `first` on: scores[g][position] = q[g] .
// k[position], unscaled.
template <typename Kv, int G, int N>
inline void ScoreTile(const AttentionRow& a, const float* q, const std::byte* keys, int64_t first,
                      float* scores) {
  VecF sums[G][N];
  for (int g = 0; g < G; ++g) {
    for (int i = 0; i < N; ++i) sums[g][i] = Zero();
  }
  for (int64_t d = 0; d < a.head_dim; ++d) {
    VecF k[N];
    for (int i = 0; i < N; ++i)
      k[i] = Kv::Load(keys + (d * kKvBlock + first + i * kLanes) * Kv::kBytes);
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
inline void ScoreBlock(const AttentionRow& a, const float* q, const Span& span, float* scores) {
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
inline BlockSoftmax Softmax(const AttentionRow& a, const Span& span, float inv_sqrt_dim,
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

// sums[g][d] = sum over the span of weights[g][position] * v[position][d], for N vectors of d from
// `first` on; the last vector has n lanes.
template <typename Kv, int G, int N>
inline void ValueTile(const AttentionRow& a, const Span& span, const float* weights, int64_t first,
                      int64_t n, float* sums) {
  const std::byte* values = span.block + a.block_bytes + first * Kv::kBytes;
  VecF acc[G][N];
  for (int g = 0; g < G; ++g) {
    for (int i = 0; i < N; ++i) acc[g][i] = Zero();
  }
  for (int64_t p = span.begin; p < span.end; ++p) {
    const std::byte* row = values + p * a.head_dim * Kv::kBytes;
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
inline void ValueBlock(const AttentionRow& a, const Span& span, const float* weights, float* sums) {
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

// G heads from `head` on.
template <typename Kv, int G>
inline void AttendHeads(const AttentionRow& a, int64_t head) {
  const float* q = a.q + head * a.head_dim;
  float* out = a.out + head * a.head_dim;
  float* scores = a.scratch;
  float* sums = a.scratch + G * kKvBlock;
  const float inv_sqrt_dim = 1 / __builtin_sqrtf(static_cast<float>(a.head_dim));
  float max[G], sum[G];
  for (int g = 0; g < G; ++g) {
    max[g] = -__builtin_inff();
    sum[g] = 0;
  }
  for (int64_t i = 0; i < G * a.head_dim; ++i) out[i] = 0;
  for (int64_t page = a.begin / kKvBlock; page * kKvBlock < a.end; ++page) {
    const int64_t base = page * kKvBlock;
    const Span span = {a.pages[page] + a.head_offset, AtLeast(a.begin - base, 0),
                       AtMost(a.end - base, kKvBlock)};
    ScoreBlock<Kv, G>(a, q, span, scores);
    BlockSoftmax block[G];
    for (int g = 0; g < G; ++g)
      block[g] = Softmax<Kv>(a, span, inv_sqrt_dim, scores + g * kKvBlock);
    ValueBlock<Kv, G>(a, span, scores, sums);
    for (int g = 0; g < G; ++g) {
      const float new_max = max[g] > block[g].max ? max[g] : block[g].max;
      const float keep = ExpOne(max[g] - new_max);
      const float take = ExpOne(block[g].max - new_max);
      Blend(out + g * a.head_dim, keep, sums + g * a.head_dim, take, a.head_dim);
      sum[g] = sum[g] * keep + block[g].sum * take;
      max[g] = new_max;
    }
  }
  for (int g = 0; g < G; ++g) {
    for (int64_t d = 0; d < a.head_dim; ++d) out[g * a.head_dim + d] /= sum[g];
    if (a.lse != nullptr) a.lse[head + g] = max[g] + __builtin_logf(sum[g]);
  }
}

template <typename Kv>
inline void AttendAll(const AttentionRow& a) {
  int64_t head = 0;
  for (; head + kMaxSharedHeads <= a.heads; head += kMaxSharedHeads)
    AttendHeads<Kv, kMaxSharedHeads>(a, head);
  for (; head + 2 <= a.heads; head += 2) AttendHeads<Kv, 2>(a, head);
  if (head < a.heads) AttendHeads<Kv, 1>(a, head);
}

inline void Attend(const AttentionRow& a) {
  switch (a.type) {
    case KvType::kF32:
      return AttendAll<KvF32>(a);
    case KvType::kF16:
      return AttendAll<KvF16>(a);
    case KvType::kBF16:
      return AttendAll<KvBF16>(a);
    case KvType::kQ8:
      return AttendAll<KvQ8>(a);
  }
}

// x[head_dim] in the cache's type; returns the scale of a scaled type.
template <typename Kv>
inline float RoundKv(const float* x, int64_t head_dim, std::byte* to) {
  float scale = 1, factor = 1;
  if constexpr (Kv::kScaled) {
    scale = MaxMagnitude(x, head_dim) / 127;
    factor = 1 / scale;
    if (!(factor > 0 &&
          factor < __builtin_inff())) {  // nothing to see, or nothing to trust: the scale tells
      __builtin_memset(to, 0, static_cast<size_t>(head_dim));
      return scale;
    }
  }
  for (int64_t d = 0; d < head_dim; d += kLanes) {
    const int64_t n = AtMost(kLanes, head_dim - d);
    Kv::StoreN(to + d * Kv::kBytes, LoadF32N(x + d, n), factor, n);
  }
  return scale;
}

template <typename Kv>
inline void StoreKvAs(const KvRow& a) {
  auto* scales = reinterpret_cast<float*>(a.block + 2 * a.block_bytes);
  auto* rounded = reinterpret_cast<std::byte*>(a.scratch);
  const float key_scale = RoundKv<Kv>(a.k, a.head_dim, rounded);
  for (int64_t d = 0; d < a.head_dim; ++d) {
    __builtin_memcpy(a.block + (d * kKvBlock + a.slot) * Kv::kBytes, rounded + d * Kv::kBytes,
                     Kv::kBytes);
  }
  const float value_scale =
      RoundKv<Kv>(a.v, a.head_dim, a.block + a.block_bytes + a.slot * a.head_dim * Kv::kBytes);
  if constexpr (Kv::kScaled) {
    scales[a.slot] = key_scale;
    scales[kKvBlock + a.slot] = value_scale;
  }
}

inline void StoreKv(const KvRow& a) {
  switch (a.type) {
    case KvType::kF32:
      return StoreKvAs<KvF32>(a);
    case KvType::kF16:
      return StoreKvAs<KvF16>(a);
    case KvType::kBF16:
      return StoreKvAs<KvBF16>(a);
    case KvType::kQ8:
      return StoreKvAs<KvQ8>(a);
  }
}

}  // namespace
}  // namespace cadre::CADRE_ISA
