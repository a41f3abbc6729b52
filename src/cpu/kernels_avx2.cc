// The kernels are written in terms of the vectors, which therefore come first.
// clang-format off
#include "cpu/simd_avx2_inl.h"
#include "cpu/panel_dots_words_inl.h"
#include "cpu/panels_inl.h"

namespace cadre::avx2 {
namespace {
constexpr const PanelKernels* kPanelKernels = &kPanels;
}
}  // namespace cadre::avx2

#include "cpu/kernels_inl.h"
// clang-format on

namespace cadre {

const KernelTable& Avx2Kernels() { return avx2::kTable; }

}  // namespace cadre
