#include "cpu/simd_avx512_inl.h"
// The kernels are written in terms of the vectors above.
#include "cpu/kernels_inl.h"

namespace cadre {

const KernelTable& Avx512Kernels() { return avx512::kTable; }

}  // namespace cadre
