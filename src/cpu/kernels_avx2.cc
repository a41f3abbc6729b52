#include "cpu/simd_avx2_inl.h"
// The kernels are written in terms of the vectors above.
#include "cpu/kernels_inl.h"

namespace cadre {

const KernelTable& Avx2Kernels() { return avx2::kTable; }

}  // namespace cadre
