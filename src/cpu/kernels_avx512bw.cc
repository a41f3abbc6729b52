// The kernels are written in terms of the vectors, which therefore come first.
// clang-format off
#include "cpu/simd_avx512_inl.h"
#include "cpu/panel_dots_words_inl.h"
#include "cpu/panels_inl.h"

namespace cadre::avx512bw {
namespace {
constexpr const PanelKernels* kPanelKernels = &kPanels;
}
}  // namespace cadre::avx512bw

#include "cpu/kernels_inl.h"
// clang-format on

namespace cadre {

const KernelTable& Avx512BwKernels() { return avx512bw::kTable; }

}  // namespace cadre
