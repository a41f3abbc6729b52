// Writing keys and values to the pages of a sequence.
#pragma once

#include "cpu/kv_types_inl.h"

namespace cadre::CADRE_ISA {
namespace {

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
