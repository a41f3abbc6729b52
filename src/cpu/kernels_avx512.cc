// The kernels are written in terms of the vectors, which therefore come first.
// clang-format off
#include "cpu/simd_avx512_inl.h"
#include "cpu/panel_dots_vnni_inl.h"
#include "cpu/panels_inl.h"
#include "cpu/half_panels_avx512_inl.h"
#include "cpu/kernels_inl.h"
// clang-format on

namespace cadre {

const KernelTable& Avx512Kernels() { return avx512::kTable; }

}  // namespace cadre
