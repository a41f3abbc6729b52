#include "cpu/simd_scalar_inl.h"

namespace cadre::scalar {
namespace {

constexpr int kGemmRows = 4;
constexpr int kGemmVecs = 1;

inline VecF Sqrt(VecF x) {
  for (float& lane : x.lane) lane = __builtin_sqrtf(lane);
  return x;
}

inline void TransposeLanes(VecF (&rows)[kLanes]) {
  for (int i = 0; i < kLanes; ++i) {
    for (int j = 0; j < i; ++j) {
      const float below = rows[i].lane[j];
      rows[i].lane[j] = rows[j].lane[i];
      rows[j].lane[i] = below;
    }
  }
}

}  // namespace
}  // namespace cadre::scalar

#include "cpu/backward_kernels_inl.h"

namespace cadre {

const BackwardKernels& ScalarBackwardKernels() { return scalar::kBackwardKernels; }

}  // namespace cadre
