// The kernels are written in terms of the vectors, which therefore come first.
// clang-format off
#include "cpu/simd_scalar_inl.h"
#include "cpu/row_products_inl.h"
#include "cpu/kernels_inl.h"
// clang-format on

namespace cadre {

const KernelTable& ScalarKernels() { return scalar::kTable; }

}  // namespace cadre
