#include "cpu/simd_avx512_inl.h"

namespace cadre::avx512bw {
namespace {

// 28 sums, two vectors of B and one value of A: 31 of the 32 registers.
constexpr int kGemmRows = 14;
constexpr int kGemmVecs = 2;
constexpr int64_t kAPanelStride = 16;

inline VecF Sqrt(VecF x) { return _mm512_sqrt_ps(x); }

// The 16 x 16 matrix of these rows, transposed: pairs, fours within 128 bits, then the 128-bit
// blocks.
inline void TransposeLanes(VecF (&rows)[kLanes]) {
  VecF pairs[kLanes], fours[kLanes];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    pairs[i] = _mm512_unpacklo_ps(rows[i], rows[i + 1]);
    pairs[i + 1] = _mm512_unpackhi_ps(rows[i], rows[i + 1]);
  }
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 4) {
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) {
      const __m512d low = _mm512_castps_pd(pairs[i + j]), high = _mm512_castps_pd(pairs[i + j + 2]);
      fours[i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(low, high));
      fours[i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low, high));
    }
  }
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    const VecF even_top = _mm512_shuffle_f32x4(fours[j], fours[4 + j], 0x88);
    const VecF odd_top = _mm512_shuffle_f32x4(fours[j], fours[4 + j], 0xdd);
    const VecF even_bottom = _mm512_shuffle_f32x4(fours[8 + j], fours[12 + j], 0x88);
    const VecF odd_bottom = _mm512_shuffle_f32x4(fours[8 + j], fours[12 + j], 0xdd);
    rows[j] = _mm512_shuffle_f32x4(even_top, even_bottom, 0x88);
    rows[4 + j] = _mm512_shuffle_f32x4(odd_top, odd_bottom, 0x88);
    rows[8 + j] = _mm512_shuffle_f32x4(even_top, even_bottom, 0xdd);
    rows[12 + j] = _mm512_shuffle_f32x4(odd_top, odd_bottom, 0xdd);
  }
}

}  // namespace
}  // namespace cadre::avx512bw

#include "cpu/backward_kernels_inl.h"

namespace cadre {

const BackwardKernels& Avx512BwBackwardKernels() { return avx512bw::kBackwardKernels; }

}  // namespace cadre
