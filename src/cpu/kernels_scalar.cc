#include "cpu/simd_scalar_inl.h"
// The kernels are written in terms of the vectors above.
#include "cpu/kernels_inl.h"

namespace cadre {

const KernelTable& ScalarKernels() { return scalar::kTable; }

}  // namespace cadre
