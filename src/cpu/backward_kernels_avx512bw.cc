#include "cpu/simd_avx512_inl.h"

namespace cadre::avx512bw {
namespace {

// 28 sums, two vectors of B and one value of A: 31 of the 32 registers.
constexpr int kGemmRows = 14;
constexpr int kGemmVecs = 2;

inline VecF Sqrt(VecF x) { return _mm512_sqrt_ps(x); }

}  // namespace
}  // namespace cadre::avx512bw

#include "cpu/backward_kernels_inl.h"

namespace cadre {

const BackwardKernels& Avx512BwBackwardKernels() { return avx512bw::kBackwardKernels; }

}  // namespace cadre
