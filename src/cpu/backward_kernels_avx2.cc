#include "cpu/simd_avx2_inl.h"

namespace cadre::avx2 {
namespace {

// 12 sums, two vectors of B and one value of A: 15 of the 16 registers.
constexpr int kGemmRows = 6;
constexpr int kGemmVecs = 2;

inline VecF Sqrt(VecF x) { return _mm256_sqrt_ps(x); }

// The 8 x 8 matrix of these rows, transposed: pairs, fours within 128 bits, then the halves.
inline void TransposeLanes(VecF (&rows)[kLanes]) {
  VecF pairs[kLanes], fours[kLanes];
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    pairs[i] = _mm256_unpacklo_ps(rows[i], rows[i + 1]);
    pairs[i + 1] = _mm256_unpackhi_ps(rows[i], rows[i + 1]);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) {
      const __m256d low = _mm256_castps_pd(pairs[i + j]), high = _mm256_castps_pd(pairs[i + j + 2]);
      fours[i + 2 * j] = _mm256_castpd_ps(_mm256_unpacklo_pd(low, high));
      fours[i + 2 * j + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(low, high));
    }
  }
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    rows[j] = _mm256_permute2f128_ps(fours[j], fours[4 + j], 0x20);
    rows[4 + j] = _mm256_permute2f128_ps(fours[j], fours[4 + j], 0x31);
  }
}

}  // namespace
}  // namespace cadre::avx2

#include "cpu/backward_kernels_inl.h"

namespace cadre {

const BackwardKernels& Avx2BackwardKernels() { return avx2::kBackwardKernels; }

}  // namespace cadre
