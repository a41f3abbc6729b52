// Attention of rows over the pages of their sequence, and the writing of those pages. Absolute
// blocks of kKvBlock positions are reduced each in the same way and merged in ascending order, so a
// row cannot tell whether it was decoded alone or came with a prompt. A row alone reads keys and
// values as they are stored; rows together have them decoded once, strip by strip. Positions that
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

// Rows together: a query is a row's head.

template <int kQueries>
struct Queries {
  static constexpr int kCount = kQueries;
};

struct QueryScratch {
  float* strip;   // [head_dim][kAttentionStrip] of keys, or [kAttentionStrip][padded] of values
  float* scores;  // [queries][kKvBlock]
  float* sums;    // [queries][padded]
  BlockSoftmax* softmax;  // [queries]
  int64_t padded;         // head_dim filled up to whole vectors
};
inline QueryScratch ScratchOf(const AttentionRows& a) {
  const int64_t queries = a.num_rows * a.heads;
  const int64_t padded = PaddedHeadDim(a.head_dim);
  float* scores = a.scratch + kAttentionStrip * padded;
  float* sums = scores + queries * kKvBlock;
  return {a.scratch, scores, sums, reinterpret_cast<BlockSoftmax*>(sums + queries * padded),
          padded};
}

template <typename Kv>
inline void DecodeKeys(const AttentionRows& a, const std::byte* keys, float* strip) {
  for (int64_t d = 0; d < a.head_dim; ++d) {
    for (int64_t i = 0; i < kAttentionStrip; i += kLanes)
      StoreF32(strip + d * kAttentionStrip + i, Kv::Load(keys + (d * kKvBlock + i) * Kv::kBytes));
  }
}
template <typename Kv>
inline void DecodeValues(const AttentionRows& a, const std::byte* values, int64_t padded,
                         float* strip) {
  for (int64_t p = 0; p < kAttentionStrip; ++p) {
    for (int64_t d = 0; d < a.head_dim; d += kLanes) {
      const std::byte* at = values + (p * a.head_dim + d) * Kv::kBytes;
      const int64_t n = AtMost(kLanes, a.head_dim - d);
      StoreF32(strip + p * padded + d, n == kLanes ? Kv::Load(at) : Kv::LoadN(at, n));
    }
  }
}

// As ScoreTile, of a strip of decoded keys.
template <int G>
inline void ScoreStrip(const float* strip, int64_t head_dim, const float* const (&q)[G],
                       float* const (&scores)[G]) {
  for (int64_t first = 0; first < kAttentionStrip; first += kHeadVecs * kLanes) {
    VecF sums[G][kHeadVecs];
    for (int g = 0; g < G; ++g) {
      for (int i = 0; i < kHeadVecs; ++i) sums[g][i] = Zero();
    }
    for (int64_t d = 0; d < head_dim; ++d) {
      VecF k[kHeadVecs];
      for (int i = 0; i < kHeadVecs; ++i)
        k[i] = LoadF32(strip + d * kAttentionStrip + first + i * kLanes);
      for (int g = 0; g < G; ++g) {
        const VecF one = Broadcast(q[g][d]);
        for (int i = 0; i < kHeadVecs; ++i) sums[g][i] = MulAdd(one, k[i], sums[g][i]);
      }
    }
    for (int g = 0; g < G; ++g) {
      for (int i = 0; i < kHeadVecs; ++i) StoreF32(scores[g] + first + i * kLanes, sums[g][i]);
    }
  }
}

// As ValueTile, of positions [begin, end) of a strip of decoded values: added to sums.
template <int G, int N>
inline void ValueStripTile(const float* strip, int64_t padded, int64_t begin, int64_t end,
                           const float* const (&weights)[G], float* const (&sums)[G]) {
  VecF acc[G][N];
  for (int g = 0; g < G; ++g) {
    for (int i = 0; i < N; ++i) acc[g][i] = LoadF32(sums[g] + i * kLanes);
  }
  for (int64_t p = begin; p < end; ++p) {
    VecF v[N];
    for (int i = 0; i < N; ++i) v[i] = LoadF32(strip + p * padded + i * kLanes);
    for (int g = 0; g < G; ++g) {
      const VecF weight = Broadcast(weights[g][p]);
      for (int i = 0; i < N; ++i) acc[g][i] = MulAdd(weight, v[i], acc[g][i]);
    }
  }
  for (int g = 0; g < G; ++g) {
    for (int i = 0; i < N; ++i) StoreF32(sums[g] + i * kLanes, acc[g][i]);
  }
}
template <int G>
inline void ValueStrip(const float* strip, int64_t padded, int64_t begin, int64_t end,
                       const float* const (&weights)[G], float* const (&sums)[G]) {
  float* at[G];
  int64_t d = 0;
  for (; d + kHeadVecs * kLanes <= padded; d += kHeadVecs * kLanes) {
    for (int g = 0; g < G; ++g) at[g] = sums[g] + d;
    ValueStripTile<G, kHeadVecs>(strip + d, padded, begin, end, weights, at);
  }
  for (; d < padded; d += kLanes) {
    for (int g = 0; g < G; ++g) at[g] = sums[g] + d;
    ValueStripTile<G, 1>(strip + d, padded, begin, end, weights, at);
  }
}

// What a row sees of a strip that begins at `first`.
struct Clip {
  int64_t begin, end;
  bool empty() const { return end <= begin; }
};
inline Clip ClipOf(const AttentionRows& a, int64_t row, int64_t page, int64_t first) {
  const Span span = SpanOf(a, a.rows[row], page);
  return {AtLeast(span.begin - first, 0), AtMost(span.end - first, kAttentionStrip)};
}
// Whether any row sees something of the strip.
inline bool AnySees(const AttentionRows& a, int64_t page, int64_t first) {
  for (int64_t r = 0; r < a.num_rows; ++r) {
    if (!ClipOf(a, r, page, first).empty()) return true;
  }
  return false;
}

// Calls run(Clip, first query, Count<G>) for the queries that see something of a strip, G queries
// that see the same at a time.
template <typename Run>
inline void ForQueries(const AttentionRows& a, int64_t page, int64_t first, const Run& run) {
  const int64_t queries = a.num_rows * a.heads;
  for (int64_t i = 0; i < queries;) {
    const Clip clip = ClipOf(a, i / a.heads, page, first);
    int64_t count = 1;
    while (count < 4 && i + count < queries) {
      const Clip next = ClipOf(a, (i + count) / a.heads, page, first);
      if (next.begin != clip.begin || next.end != clip.end) break;
      ++count;
    }
    count = count == 3 ? 2 : count;
    if (!clip.empty()) {
      if (count == 4) {
        run(clip, i, Queries<4>{});
      } else if (count == 2) {
        run(clip, i, Queries<2>{});
      } else {
        run(clip, i, Queries<1>{});
      }
    }
    i += count;
  }
}

template <typename Kv>
inline void ScoreShared(const AttentionRows& a, const QueryScratch& s, int64_t page) {
  const std::byte* keys = a.pages[page] + a.head_offset;
  for (int64_t first = 0; first < kKvBlock; first += kAttentionStrip) {
    if (!AnySees(a, page, first)) continue;
    DecodeKeys<Kv>(a, keys + first * Kv::kBytes, s.strip);
    ForQueries(a, page, first, [&](const Clip&, int64_t query, auto count) {
      constexpr int kCount = decltype(count)::kCount;
      const float* q[kCount];
      float* scores[kCount];
      for (int g = 0; g < kCount; ++g) {
        const int64_t i = query + g;
        q[g] = a.rows[i / a.heads].q + i % a.heads * a.head_dim;
        scores[g] = s.scores + i * kKvBlock + first;
      }
      ScoreStrip<kCount>(s.strip, a.head_dim, q, scores);
    });
  }
}

template <typename Kv>
inline void ValueShared(const AttentionRows& a, const QueryScratch& s, int64_t page) {
  const std::byte* values = a.pages[page] + a.head_offset + a.block_bytes;
  for (int64_t i = 0; i < a.num_rows * a.heads * s.padded; ++i) s.sums[i] = 0;
  for (int64_t first = 0; first < kKvBlock; first += kAttentionStrip) {
    if (!AnySees(a, page, first)) continue;
    DecodeValues<Kv>(a, values + first * a.head_dim * Kv::kBytes, s.padded, s.strip);
    ForQueries(a, page, first, [&](const Clip& clip, int64_t query, auto count) {
      constexpr int kCount = decltype(count)::kCount;
      const float* weights[kCount];
      float* sums[kCount];
      for (int g = 0; g < kCount; ++g) {
        weights[g] = s.scores + (query + g) * kKvBlock + first;
        sums[g] = s.sums + (query + g) * s.padded;
      }
      ValueStrip<kCount>(s.strip, s.padded, clip.begin, clip.end, weights, sums);
    });
  }
}

template <typename Kv>
inline void AttendRowsTogether(const AttentionRows& a) {
  const QueryScratch s = ScratchOf(a);
  int64_t begin = a.rows[0].begin, end = a.rows[0].end;
  for (int64_t r = 1; r < a.num_rows; ++r) {
    begin = AtMost(begin, a.rows[r].begin);
    end = AtLeast(end, a.rows[r].end);
  }
  for (int64_t page = begin / kKvBlock; page * kKvBlock < end; ++page) {
    ScoreShared<Kv>(a, s, page);
    for (int64_t i = 0; i < a.num_rows * a.heads; ++i) {
      const Span span = SpanOf(a, a.rows[i / a.heads], page);
      if (span.begin < span.end)
        s.softmax[i] = Softmax<Kv>(a, span, InvSqrtDim(a), s.scores + i * kKvBlock);
    }
    ValueShared<Kv>(a, s, page);
    for (int64_t i = 0; i < a.num_rows * a.heads; ++i) {
      const AttentionRow& row = a.rows[i / a.heads];
      const Span span = SpanOf(a, row, page);
      if (span.begin < span.end)
        MergeHead(a.head_dim, row.sums, i % a.heads, s.softmax[i], s.sums + i * s.padded);
    }
  }
}

template <typename Kv>
inline void AttendAs(const AttentionRows& a) {
  for (int64_t r = 0; r < a.num_rows; ++r) StartSums(a, a.rows[r].sums);
  if (a.num_rows == 1) return AttendOneRow<Kv>(a, a.rows[0]);
  AttendRowsTogether<Kv>(a);
}

inline void Attend(const AttentionRows& a) {
  switch (a.type) {
    case KvType::kF32:
      return AttendAs<KvF32>(a);
    case KvType::kF16:
      return AttendAs<KvF16>(a);
    case KvType::kBF16:
      return AttendAs<KvBF16>(a);
    case KvType::kQ8:
      return AttendAs<KvQ8>(a);
  }
}

inline void MergeSums(int64_t heads, int64_t head_dim, const AttentionSums& into,
                      const AttentionSums& block) {
  for (int64_t h = 0; h < heads; ++h)
    MergeHead(head_dim, into, h, {block.max[h], block.sum[h]}, block.out + h * head_dim);
}

inline void FinishSums(int64_t heads, int64_t head_dim, const AttentionSums& sums, float* lse) {
  for (int64_t h = 0; h < heads; ++h) {
    for (int64_t d = 0; d < head_dim; ++d) sums.out[h * head_dim + d] /= sums.sum[h];
    if (lse != nullptr) lse[h] = sums.max[h] + __builtin_logf(sums.sum[h]);
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
