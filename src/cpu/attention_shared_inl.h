// Attention of several rows of one sequence over its pages: keys and values are decoded once for
// all of them, strip by strip. Every row gets the same operations in the same order as alone.
#pragma once

#include "cpu/attention_inl.h"

namespace cadre::CADRE_ISA {
namespace {

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
  for (; d + 2 * kLanes <= padded; d += 2 * kLanes) {
    for (int g = 0; g < G; ++g) at[g] = sums[g] + d;
    ValueStripTile<G, 2>(strip + d, padded, begin, end, weights, at);
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

}  // namespace
}  // namespace cadre::CADRE_ISA
